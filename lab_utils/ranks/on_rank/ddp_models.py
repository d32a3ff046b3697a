"""DDP models in whose step a call failed: all ranks make their reducers anew, so that the next step works.

A reducer counts gradients from DDP's forward to the end of backward, and its buckets change after the first backward.
When a backward fails, ranks are left with different counts, for good: a later step would end in an internal error of
torch, or in ranks that wait for each other. The model, its parameters, gradients and hooks stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

import torch
import torch.distributed as dist
from torch import autograd
from torch.nn.parallel import DistributedDataParallel as DDP

from lab_utils.comm.process_group.calls_from_cpp import never_compiled
from lab_utils.comm.process_group.membership import labels

_REFUSED = (
    "this DDP model was left in the middle of a step by a call that failed, and with {what} it cannot be reset: "
    "make it again, such as ddp = DDP(ddp.module)"
)
_named: WeakValueDictionary[str, DDP] = WeakValueDictionary()
_at_forward: WeakKeyDictionary[DDP, tuple[list[int], bool]] = WeakKeyDictionary()  # progress when it ended
_half_rebuilt: WeakSet[dist.Reducer] = WeakSet()
_backward_failed = False  # since the groups were formed
_backwards: set[object] = set()  # that run now, on any thread: checkpoints run one inside another

_make, _end_forward, _rebuild = DDP._ddp_init_helper, DDP._post_forward, dist.Reducer._rebuild_buckets
_run_backward = None


def follow() -> None:
    """Name this process's DDP models from now on, and note how far their steps come; once per process."""
    global _run_backward
    _run_backward, autograd._engine_run_backward = autograd._engine_run_backward, _backward
    never_compiled(_Followed, _FollowedReducer)
    DDP._ddp_init_helper, DDP._post_forward = _Followed._ddp_init_helper, _Followed._post_forward
    dist.Reducer._rebuild_buckets = _FollowedReducer._rebuild_buckets


def unfinished() -> frozenset[str]:
    """Return the names of DDP models whose step may have failed on this rank since the groups were formed."""
    failed = [name for name, ddp in _named.items() if ddp.reducer in _half_rebuilt]
    if _backward_failed:
        failed += [name for name, ddp in _named.items() if ddp in _at_forward and _at_forward[ddp] != _progress(ddp)]
    return frozenset(failed)


def make_ready(names: Iterable[str]) -> None:
    """Make the reducers of these models anew: of all that were unfinished on any rank, on every rank."""
    global _backward_failed
    _backward_failed = False
    _half_rebuilt.clear()
    for name in names:
        if (ddp := _named.get(name)) is not None:  # it lives on this rank
            _make_anew(ddp)


def _make_anew(ddp: DDP) -> None:
    _at_forward.pop(ddp, None)
    if what := _lost_with_reducer(ddp):
        ddp._pre_forward = _refuse(what)
        return
    hook = ddp.logger._get_ddp_logging_data().strs_map.get("comm_hook", "")
    ddp.reducer._remove_autograd_hooks()
    parameters, sparse = ddp._build_params_for_reducer()
    ddp._ddp_init_helper(parameters, sparse, ddp._build_debug_param_to_name_mapping(parameters), ddp.static_graph)
    ddp._has_rebuilt_buckets = False
    if ddp.static_graph:
        ddp._static_graph_delay_allreduce_enqueued = False
        ddp.reducer._set_static_graph()
        ddp.logger._set_static_graph()
    if hook.startswith(f"{dist.BuiltinCommHookType.__name__}."):
        ddp._register_builtin_comm_hook(dist.BuiltinCommHookType.__members__[hook.partition(".")[2]])
    for function, state in ddp._comm_hooks:
        ddp.logger._set_comm_hook_name(function.__qualname__)
        dist._register_comm_hook(ddp.reducer, state, function)


def _lost_with_reducer(ddp: DDP) -> str:
    """Return what the reducer knows of the model that the model itself does not: a new one would lack it."""
    if ddp.mixed_precision is not None:
        return "mixed precision"
    if any(hasattr(parameter, "_in_backward_optimizers") for parameter in ddp.module.parameters()):
        return "an optimizer in backward"
    return ""


def _refuse(what: str) -> Any:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise RuntimeError(_REFUSED.format(what=what))

    return refuse


def _progress(ddp: DDP) -> tuple[list[int], bool]:
    """Return what changes when a backward reaches the model: its gradients' times; a static graph's first has none."""
    return ddp.reducer.get_backward_stats(), getattr(ddp, "_static_graph_delay_allreduce_enqueued", False)


# ---------------------------------------------------------------------- in place of torch's
class _Followed(DDP):
    """Methods that replace DDP's own."""

    def _ddp_init_helper(self, *args: Any, **kwargs: Any) -> None:
        _make(self, *args, **kwargs)
        label = getattr(self.process_group, "label", None)  # none: not one of our groups
        if label is not None and self not in _named.values():
            labels[f"DDP on {label}"] += 1  # equal on all its ranks, which make their models alike
            _named[f"DDP {labels[f'DDP on {label}']} on {label}"] = self

    def _post_forward(self, output: Any) -> Any:
        output = _end_forward(self, output)
        if torch.is_grad_enabled() and self.require_backward_grad_sync and hasattr(self, "reducer"):
            _at_forward[self] = _progress(self)
        return output


class _FollowedReducer:
    """A method that replaces the reducer's own."""

    def _rebuild_buckets(self: dist.Reducer) -> bool:
        try:
            return _rebuild(self)
        except BaseException:  # other ranks may have come through
            _half_rebuilt.add(self)
            raise


def _backward(*args: Any, **kwargs: Any) -> Any:
    global _backward_failed
    this = object()
    _backwards.add(this)
    try:
        result = _run_backward(*args, **kwargs)
    except BaseException:
        _backward_failed = True
        raise
    finally:
        _backwards.discard(this)
    if not _backwards:  # one inside another says nothing about the models that the other has reached
        _forget_ended()
    return result


def _forget_ended() -> None:
    """Forget models whose step has come to its end, while another thread may begin one."""
    for reference in _at_forward.keyrefs():
        if (ddp := reference()) is not None and _at_forward.get(ddp) not in (None, _progress(ddp)):
            _at_forward.pop(ddp, None)
