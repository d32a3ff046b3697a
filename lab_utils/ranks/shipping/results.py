"""How a result is written on a rank, for a notebook that has no torch and keeps its own classes as they are."""

from __future__ import annotations

import io
import pickle
from typing import Any

import cloudpickle.cloudpickle as cloud

from lab_utils.ranks.shipping.picklers import Pickler

_arrived: set[str] = set()  # by cloudpickle's ids: classes that came with calls


def load_call(file: io.BytesIO) -> Any:
    """On a rank: what FunctionPickler wrote. The classes that it brings are the notebook's."""
    before = set(cloud._DYNAMIC_CLASS_TRACKER_BY_ID)
    loaded = pickle.load(file)
    _arrived.update(set(cloud._DYNAMIC_CLASS_TRACKER_BY_ID) - before)
    return loaded


class ResultPickler(Pickler):
    """For a result; whatever needs torch to be read is turned into numpy, or refused by name."""

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
            if tracker_id in _arrived:  # the notebook has it, and is to keep it as it is
                file = io.BytesIO()
                ResultPickler(file, whole=obj).dump(obj)
                return _class_of, (tracker_id, file.getvalue())
        return super().reducer_override(obj)


def _class_of(tracker_id: str, pickled: bytes) -> type:
    known = cloud._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker_id)
    return pickle.loads(pickled) if known is None else known


def to_numpy(tensor):
    """The tensor's values as a numpy array; what this rank holds, for a DTensor. bfloat16 becomes float32, exactly."""
    import torch

    if hasattr(tensor, "to_local"):
        tensor = tensor.to_local()
    tensor = tensor.detach().cpu()
    if tensor.dtype is torch.bfloat16:
        tensor = tensor.float()
    return tensor.resolve_conj().resolve_neg().numpy().copy()


def _identity(value: Any) -> Any:
    return value
