"""Gradients in half precision on the wire: half the bytes of float32, rounded at every addition on the way.

float16 underflows below 6e-8 and overflows above 65,504 (Micikevicius et al. 2018, "Mixed Precision Training", ICLR).
bfloat16 has float32's range and 8 significant bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
import torch.distributed as dist

from lab_utils.strategies.data.buckets.bucket import Bucket
from lab_utils.strategies.data.buckets.overlapped import Pending
from lab_utils.strategies.data.compression.error_feedback import After, Counted

HALVES = (torch.bfloat16, torch.float16)


@dataclass(eq=False)
class HalfPrecision(Counted):
    """Averages gradients in bfloat16 or float16; parameters and optimizer keep their own precision.

    >>> Buckets(model, reduce=HalfPrecision())

    Each bucket sends 2(n-1)/n times 2 bytes per element.
    """

    dtype: torch.dtype = torch.bfloat16

    def __post_init__(self) -> None:
        if self.dtype not in HALVES:
            raise ValueError(f"dtype={self.dtype}: half precision is torch.bfloat16 or torch.float16")

    def __call__(self, bucket: Bucket, group: dist.ProcessGroup) -> Pending:
        half = bucket.flat.to(self.dtype)
        return After([self.all_reduce(half, group)], partial(bucket.flat.copy_, half))
