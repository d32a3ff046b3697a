"""Plain ipyparallel with torch and gloo, started as its documentation does: the baseline for the lab's figures."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ipyparallel as ipp
import psutil

from lab_utils.ranks.processes.child_processes import Reaper

# Text, as in a user's %%px cell: a function of this module would import the lab in the engines.
_JOIN = """
import os, sys
os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
import torch
import torch.distributed as dist
_store = dist.FileStore({store!r}, {size})
dist.init_process_group("gloo", store=_store, rank={rank}, world_size={size})
"""


@contextmanager
def stock_cluster(engines: int) -> Iterator[tuple[ipp.DirectView, list[psutil.Process]]]:
    """Start `engines` engines with torch imported and one gloo group formed.

    Yields a blocking view of them in rank order, and the cluster's processes: controller, nannies and engines.
    All of them end with the context, or with this process, whichever comes first.
    """
    folder = Path(tempfile.mkdtemp(prefix="lab-stock-"))
    reaper = Reaper()
    reaper.clear(folder)
    before = set(psutil.Process().children())

    def started() -> list[psutil.Process]:
        return [child for child in psutil.Process().children() if child not in before]

    def adopt_all() -> None:
        for child in started():
            reaper.adopt(child.pid)

    try:
        client = _connected(folder, engines)
        adopt_all()
        view = client[sorted(client.ids)]
        view.block = True
        _join(client, view.targets, str(folder / "store"))
        yield view, [each for child in started() for each in (child, *child.children(recursive=True))]
        client.close(linger=0)
    finally:
        adopt_all()  # also what an interrupted start has started
        reaper.end()


def _connected(folder: Path, engines: int) -> ipp.Client:
    cluster = ipp.Cluster(
        n=engines, profile_dir=str(folder / "profile"), cluster_file="", log_level=logging.ERROR, shutdown_atexit=False
    )
    client = cluster.start_and_connect_sync()
    client.cluster = None  # only the reaper ends the processes
    return client


def _join(client: ipp.Client, targets: list[int], store: str) -> None:
    codes = [_JOIN.format(store=store, size=len(targets), rank=rank) for rank in range(len(targets))]
    asked = [client[engine].execute(code, block=False) for engine, code in zip(targets, codes, strict=True)]
    for answer in asked:
        answer.get()
