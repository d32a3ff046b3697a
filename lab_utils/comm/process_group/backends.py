"""The backends that carry a recorded group, and the name under which torch.distributed creates one."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import ProcessGroup

BACKEND = "lab"


def carriers() -> dict[str, str]:
    """Return the backends that carry a recorded group, by device; `dist.get_backend` returns the last one's name."""
    has_nccl = torch.cuda.is_available() and dist.is_nccl_available()
    return {"cpu": "gloo", "cuda": "nccl" if has_nccl else "gloo"}


MAKERS = {"gloo": (ProcessGroup.BackendType.GLOO, dist.ProcessGroupGloo)}
if dist.is_nccl_available():
    MAKERS["nccl"] = ProcessGroup.BackendType.NCCL, dist.ProcessGroupNCCL  # connects at its first op
