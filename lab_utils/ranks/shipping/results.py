"""Pickles a rank's result for a notebook that has no torch and keeps its own classes unchanged."""

from __future__ import annotations

import io
import pickle
from typing import Any

import cloudpickle.cloudpickle as cloud

from lab_utils.ranks.shipping.picklers import Pickler

_arrived: set[str] = set()  # cloudpickle ids of classes received with calls


def load_call(file: io.BytesIO) -> Any:
    """Load on a rank what FunctionPickler wrote, and record its classes as the notebook's."""
    before = set(cloud._DYNAMIC_CLASS_TRACKER_BY_ID)
    loaded = pickle.load(file)
    _arrived.update(set(cloud._DYNAMIC_CLASS_TRACKER_BY_ID) - before)
    return loaded


class ResultPickler(Pickler):
    """Pickles a result; what needs torch to be read becomes numpy, or is refused by name."""

    def __init__(self, file: io.BytesIO, whole: type | None = None):
        super().__init__(file)
        self._whole = whole

    def reducer_override(self, obj: Any) -> Any:
        import torch

        if isinstance(obj, torch.Tensor):
            return _identity, (to_numpy(obj),)
        if isinstance(obj, torch.Size):
            return tuple, (list(obj),)
        if isinstance(obj, (torch.dtype, torch.device)):
            return str, (str(obj),)
        if type(obj).__module__.partition(".")[0] == "torch" or isinstance(obj, torch.nn.Module):
            raise TypeError(
                f"a result holds a {type(obj).__name__}, which the notebook cannot read without torch: "
                "return its tensors or numbers"
            )
        if isinstance(obj, type) and obj is not self._whole:
            tracker_id = cloud._DYNAMIC_CLASS_TRACKER_BY_CLASS.get(obj)
            if tracker_id in _arrived:  # the notebook has this class and keeps its own
                file = io.BytesIO()
                ResultPickler(file, whole=obj).dump(obj)
                return _class_of, (tracker_id, file.getvalue())
        return super().reducer_override(obj)


def _class_of(tracker_id: str, pickled: bytes) -> type:
    known = cloud._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker_id)
    return pickle.loads(pickled) if known is None else known


def to_numpy(tensor):
    """Return the tensor's values as a numpy array; a DTensor's local shard. bfloat16 becomes float32, exactly."""
    import torch

    if hasattr(tensor, "to_local"):
        tensor = tensor.to_local()
    tensor = tensor.detach().cpu()
    if tensor.dtype is torch.bfloat16:
        tensor = tensor.float()
    return tensor.resolve_conj().resolve_neg().numpy().copy()


def _identity(value: Any) -> Any:
    return value
