"""Ranks without a notebook: processes in one gloo group, cheap enough to start for every group size."""

from __future__ import annotations

import multiprocessing
import traceback
from datetime import timedelta
from multiprocessing.connection import wait

import torch
import torch.distributed as dist


class ForkedRanks:
    """n processes in one gloo group, each answering calls until it is told to stop.

    Forked from a server that has torch and no threads: the test process may have some by now.
    """

    def __init__(self, n: int, store: str):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch.distributed"])
        self.n = n
        self.pipes, theirs = zip(*(context.Pipe() for _ in range(n)), strict=True)
        self.processes = [context.Process(target=_serve, args=(r, n, store, theirs[r]), daemon=True) for r in range(n)]
        for process in self.processes:
            process.start()

    def run(self, fn, *args):
        """fn(*args) on every rank: the results in rank order. AssertionError with every traceback of a rank."""
        for pipe in self.pipes:
            pipe.send((fn, args))
        answers = [self._answer(rank) for rank in range(self.n)]
        failed = [f"rank {rank}:\n{trace}" for rank, (trace, _) in enumerate(answers) if trace]
        assert not failed, "\n".join(failed)
        return [result for _, result in answers]

    def _answer(self, rank):
        pipe, process = self.pipes[rank], self.processes[rank]
        if pipe in wait([pipe, process.sentinel]):
            return pipe.recv()
        process.join()
        return f"the process ended with code {process.exitcode}", None

    def stop(self):
        for pipe, process in zip(self.pipes, self.processes, strict=True):
            if process.is_alive():
                pipe.send(None)
            process.join()


def _serve(rank, n, store, pipe):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", store=dist.FileStore(store, n), rank=rank, world_size=n, timeout=timedelta(seconds=20)
    )
    while (task := pipe.recv()) is not None:
        fn, args = task
        try:
            pipe.send((None, fn(*args)))
        except Exception:
            pipe.send((traceback.format_exc(), None))
    dist.destroy_process_group()
