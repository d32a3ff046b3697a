"""Runs at the start of every Python process of a recorded program, and hooks the import of torch.distributed.

A process that never forms a group loads only this file; the lab is loaded when the first group is formed, or before a
process that has loaded c10d forks.
No error here may reach the program: it is written down for the command, and the program runs on unrecorded.
"""

import importlib.util
import os
import sys
import traceback

_HERE = os.path.dirname(os.path.abspath(__file__))
_LAB = os.path.dirname(os.path.dirname(_HERE))
_C10D = "torch.distributed.distributed_c10d"
_me = sys.modules[__name__]


class _Watch:
    """A finder that finds c10d where Python would, and patches how it forms groups once it is loaded."""

    def find_spec(self, name, path=None, target=None):
        if name != _C10D:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            _attach(module)

        spec.loader.exec_module = exec_module
        return spec


def _attach(c10d):
    form = c10d._new_process_group_helper

    def form_recorded(*args, **kwargs):
        try:
            recorded = _lab().forming(c10d, form)
        except Exception:
            _note(traceback.format_exc(limit=0), c10d)
            recorded = form
        if c10d._new_process_group_helper is form_recorded:  # not on the lab's own ranks, which have wrapped it
            c10d._new_process_group_helper = recorded
        return recorded(*args, **kwargs)

    def before_fork():
        try:
            _lab().before_fork()  # loads the lab, which each process that is forked as a rank would do for itself
        except Exception:
            _note(traceback.format_exc(limit=0), c10d)

    c10d._new_process_group_helper = form_recorded
    os.register_at_fork(before=before_fork)


def _lab():
    """Import lab_utils.record.on_rank, by its path where the program's interpreter does not have the lab installed."""
    if importlib.util.find_spec("lab_utils") is None:
        spec = importlib.util.spec_from_file_location("lab_utils", os.path.join(_LAB, "__init__.py"))
        sys.modules["lab_utils"] = package = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(package)
    return importlib.import_module("lab_utils.record.on_rank")


def _note(trouble, c10d):
    what = trouble.strip().rpartition("\n")[2]
    with open(os.path.join(os.environ["LAB_UTILS_RECORD"], f"trouble-{os.getpid()}"), "w", encoding="utf-8") as file:
        file.write(f"{what} (torch {c10d.torch.__version__}, Python {sys.version.partition(' ')[0]})")


# Remove this folder from the path, and run the program's own sitecustomize, if it has one.
sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != _HERE]
sys.path_importer_cache.pop(_HERE, None)
del sys.modules[__name__]
if importlib.util.find_spec(__name__) is not None:
    importlib.import_module(__name__)
else:
    sys.modules[__name__] = _me
if "LAB_UTILS_RECORD" in os.environ:
    sys.meta_path.insert(0, _Watch())
