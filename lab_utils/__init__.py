"""A lab in which large language models are trained in parallel, on real ranks, in a notebook."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec

from lab_utils.lazy import lazy

if find_spec("numpy"):  # without packages, `python -m lab_utils doctor` must still work
    import lab_utils.render  # noqa: F401 - teaches Timeline to draw itself
    from lab_utils.timeline.timeline import LIVE, register_renderer

    # In a notebook a timeline is an interactive widget, loaded when the first one is shown.
    register_renderer(
        LIVE, lambda timeline, hover: import_module("lab_utils.widgets.timeline_view.widget").live(timeline)
    )

if "IPython" in sys.modules and (_ip := sys.modules["IPython"].get_ipython()) is not None:
    # Registered early: a cell run before start_ranks then gets a clear error. Loaded when first run.
    _ip.register_magic_function(
        lambda line, cell: import_module("lab_utils.ranks.magic").ranks_magic(line, cell), "cell", "ranks"
    )
    import_module("lab_utils.host.notebook_errors").improve_errors(_ip)

__all__ = ["start_ranks"]


# Loaded on use: ranks and torchrun programs need no ipyparallel client.
__getattr__, __dir__ = lazy(__name__, {"start_ranks": "ranks"})
