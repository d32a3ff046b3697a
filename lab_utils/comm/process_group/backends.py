"""The backends that carry a recorded group, and the name by which torch.distributed makes one."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import ProcessGroup

BACKEND = "lab"


def carriers() -> dict[str, str]:
    """The backends that carry a group of ours, by device; programs know the group by the last one's name."""
    has_nccl = torch.cuda.is_available() and dist.is_nccl_available()
    return {"cpu": "gloo", "cuda": "nccl" if has_nccl else "gloo"}


MAKERS = {"gloo": (ProcessGroup.BackendType.GLOO, dist.ProcessGroupGloo)}
if dist.is_nccl_available():
    MAKERS["nccl"] = ProcessGroup.BackendType.NCCL, dist.ProcessGroupNCCL  # connects at its first op
