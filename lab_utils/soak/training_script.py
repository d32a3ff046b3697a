"""A typical training script: a DataLoader worker, a progress bar, a log, and a checkpoint on Ctrl-C."""

from __future__ import annotations

import io
import logging
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, IterableDataset
from tqdm import tqdm  # ipyparallel requires it
from tqdm.contrib.logging import logging_redirect_tqdm

from lab_utils.soak.diary import Diary
from lab_utils.soak.planted import Planted
from lab_utils.soak.programs import BATCH, WIDTH, Sums, agree, make_net

_PIECES, _PIECE_S = 8, 0.01  # a slow write, so that a fault can strike while it saves
_log = logging.getLogger("train")


class Noise(IterableDataset):
    """Endless samples of shape [width] from numpy's global generator, which torch seeds in a worker."""

    def __iter__(self) -> Iterator[Tensor]:
        while True:
            yield torch.from_numpy(np.random.standard_normal(WIDTH).astype(np.float32))


# Runs Dynamo's tracing, guards and cache, once per process. "inductor" needs a C++ compiler, which not every machine
# has, and the imports of "aot_eager" take another second per new rank.
@torch.compile(backend="eager")
def loss_of(y: Tensor, x: Tensor) -> Tensor:
    return ((y - x) ** 2).mean()


def train(planted: Planted, steps: Iterable[int], diary: Diary) -> Sums:
    rank = dist.get_rank()
    logging.basicConfig(format="%(message)s")  # no effect from the second call on: there is a handler
    _log.setLevel(logging.INFO)
    diary.drew(int(np.random.randint(2**62)))  # not seeded, like a run's name: unique
    model = DistributedDataParallel(make_net(planted))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    seeded = torch.Generator().manual_seed(rank)
    batches = DataLoader(Noise(), BATCH, num_workers=1, multiprocessing_context="fork", generator=seeded)
    sums: Sums = []
    with logging_redirect_tqdm():
        try:
            diary.in_loop()
            for step, x in tqdm(zip(steps, batches, strict=False), "training"):
                planted.begin(step)
                planted.at("start")
                loss = loss_of(model(x), x)
                loss.backward()
                planted.at("optimizer")
                optimizer.step()
                optimizer.zero_grad()
                with diary.saying("stdout", f"rank {rank}, step {step}: loss {loss.item():.4f};") as line:
                    print(line)
                with diary.saying("stderr", f"rank {rank}, step {step};") as line:
                    _log.info(line)
                sums.append(agree(planted, loss))
        except KeyboardInterrupt:
            _save(model, diary.checkpoint)
            diary.saved()
            with diary.saying("stderr", f"rank {rank}, saved;") as line:
                _log.info(line)
            raise
    return sums


def _save(model: nn.Module, path: Path) -> None:
    """Save the model's state atomically, written slowly in pieces."""
    held, part = io.BytesIO(), path.with_suffix(".part")
    torch.save(model.state_dict(), held)
    whole = held.getbuffer()
    try:
        with open(part, "wb") as file:
            for piece in range(_PIECES):
                file.write(whole[len(whole) * piece // _PIECES : len(whole) * (piece + 1) // _PIECES])
                file.flush()
                time.sleep(_PIECE_S)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
