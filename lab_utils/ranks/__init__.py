"""Engines as ranks: start them, run code on them, record it, stop them."""

import sys

from lab_utils.ranks.diagnosis.errors import RankDied, RankError, RanksError, RanksStuck, StartError
from lab_utils.ranks.session import Ranks, start_ranks

if "IPython" in sys.modules:  # in a notebook, with the cell magics
    import lab_utils.ranks.magic  # noqa: F401

__all__ = ["RankDied", "RankError", "Ranks", "RanksError", "RanksStuck", "StartError", "start_ranks"]
