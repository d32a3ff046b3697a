"""Engines as ranks: start them, run code on them, record it, stop them."""

from lab_utils.ranks.errors import RankDied, RankError, RanksError, RanksStuck, StartError
from lab_utils.ranks.session import Ranks, start_ranks

__all__ = ["RankDied", "RankError", "Ranks", "RanksError", "RanksStuck", "StartError", "start_ranks"]
