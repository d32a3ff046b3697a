"""The ipyparallel cluster: one controller, engines forked from the zygote or started by the stock launcher."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import sys
import threading
import weakref
from pathlib import Path

import ipyparallel as ipp
from ipyparallel.cluster.launcher import LocalProcessLauncher
from traitlets.config import Config

from lab_utils.ranks.errors import StartError
from lab_utils.ranks.processes import Reaper, Zygote

LOOPBACK = "127.0.0.1"
START_TIMEOUT_S = 120.0
# The hub registers an engine after its first heartbeat, every 3 s by default. A rank may hold the GIL for long,
# so the number of beats it may miss keeps the default tolerance of 30 s.
_HEARTBEAT_MS = 100
_HEARTBEATS_MISSED = 300


def start_controller(folder: Path, reaper: Reaper) -> ipp.Cluster:
    """A controller of threads in one process, listening on loopback only, its files in the private folder."""
    config = Config()
    config.IPController.use_threads = True
    cluster = ipp.Cluster(
        profile_dir=str(folder / "profile"), cluster_id="lab", cluster_file="", controller_ip=LOOPBACK,
        controller_args=[
            "--nodb",  # or the controller keeps every argument and every result for ever
            "--IPController.use_threads=True", "--IPController.broadcast_scheduler_depth=0",
            f"--HeartMonitor.period={_HEARTBEAT_MS}", f"--HeartMonitor.max_heartmonitor_misses={_HEARTBEATS_MISSED}",
        ],
        engine_launcher_class="local", shutdown_atexit=False, log_level=logging.ERROR, load_profile=False,
    )  # fmt: skip
    cluster.start_controller_sync()
    reaper.adopt(cluster.controller.process.pid)
    return cluster


def connect(cluster: ipp.Cluster) -> ipp.Client:
    client = cluster.connect_client_sync()
    client.cluster = None  # the processes are ours to end, in one way
    return client


def engine_args(cluster: ipp.Cluster) -> list[str]:
    return [
        f"--file={cluster.controller.connection_files['engine']}",
        f"--profile-dir={cluster.profile_dir}",
        "--IPEngine.enable_nanny=False",
        "--log-level=ERROR",
    ]


def start_stock_engines(
    cluster: ipp.Cluster, ranks: int, reaper: Reaper, threads: int, on_end: weakref.WeakMethod
) -> None:
    """Engines as ipyparallel starts them, each importing torch for itself: for systems without fork.

    `on_end(pid, exit code)` is called from a thread for each rank that ends.
    """
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    environment = {"OMP_NUM_THREADS": str(threads)} | os.environ | {"GLOO_SOCKET_IFNAME": loopback}
    cluster.config.EngineLauncher.environment = environment
    cluster.config.EngineLauncher.engine_args = ["--IPEngine.enable_nanny=False"]
    cluster.start_engines_sync(ranks)
    for engines in cluster.engines.values():
        for launcher in engines.launchers.values():
            reaper.adopt(launcher.process.pid)
            threading.Thread(
                target=_tell_of_end, args=(launcher, on_end), daemon=True, name=f"ranks: {launcher.pid}"
            ).start()


def _tell_of_end(launcher: LocalProcessLauncher, on_end: weakref.WeakMethod) -> None:
    asyncio.run(launcher.join())
    if (tell := on_end()) is not None:
        tell(launcher.process.pid, launcher.process.wait())


def wait_for_engines(
    client: ipp.Client, ranks: int, zygote: Zygote | None, death: concurrent.futures.Future, log: Path
) -> None:
    """Until all engines are registered; StartError with the end of the log when one, or their parent, ends first."""
    ready = client.wait_for_engines(ranks, block=False, interactive=False, timeout=START_TIMEOUT_S)
    ends = [death] if zygote is None else [death, zygote.ended]
    done, _ = concurrent.futures.wait([ready, *ends], START_TIMEOUT_S, concurrent.futures.FIRST_COMPLETED)
    if ready not in done:
        what = "one of the ranks" if death in done else "the ranks' parent process" if done else "nothing"
        raise StartError(f"{what} ended while they started; it said: {_tail(log)}")
    ready.result()


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return " | ".join(lines[-3:]) or "nothing"
