"""The ipyparallel cluster: one controller, engines forked from the fork server or started by the stock launcher."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import logging
import os
import secrets
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ipyparallel as ipp
import psutil
import zmq
from ipyparallel.cluster.launcher import LocalProcessLauncher

from lab_utils.host.machine import LOOPBACK
from lab_utils.ranks.diagnosis.errors import StartError
from lab_utils.ranks.processes.child_processes import ForkServer, Reaper, own_ipython
from lab_utils.ranks.processes.reaper import still_running

START_TIMEOUT_S = 120.0
_ATTEMPTS, _ASK_AGAIN_S = 3, 5.0
_LISTEN_S, _LOOK_S = 15.0, 0.02  # no event tells that another process listens
# The hub registers an engine after its first heartbeat, every 3 s by default. It need not find out by missing beats
# that one has died, since we are told of that at once; a rank that a signal stopped for an hour is still a rank. So
# nothing beats but while engines register: idle ranks would take 3 % of a core for it.
_HEARTBEAT_MS = 100
_HEARTBEATS_MISSED = 36_000
_NO_BEATS_MISSED = "--IPEngine.max_heartbeat_misses=0"  # an engine does not end itself for want of beats


def start_controller(folder: Path, reaper: Reaper) -> tuple[ipp.Cluster, ipp.Client]:
    """Start a controller and connect to it. StartError when it ends, or does not answer in time.

    It chooses its ports before it listens on them: another program may take one in between. The controller then ends,
    or one of its schedulers does, without a word.
    """
    for attempt in range(_ATTEMPTS):
        cluster = _controller(folder, folder / f"profile-{attempt}", reaper)
        if (client := _connected(cluster)) is None:
            continue
        client.cluster = None  # the processes are ours to end, in one way
        if _listens(cluster):
            return cluster, client
        client.close(linger=0)
        _kill(cluster.controller.process.pid)
    said = " | ".join(map(_tail, Path(cluster.profile_dir, "log").glob("ipcontroller*.log"))) or "nothing"
    raise StartError(
        f"ipyparallel's controller did not start in {_ATTEMPTS} attempts: it ended, or another program took one of its "
        f"ports; it said: {said}"
    )


def _connected(cluster: ipp.Cluster) -> ipp.Client | None:
    """Return the client once the controller answers; None when it has ended."""
    process = psutil.Process(cluster.controller.process.pid)
    give_up_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < give_up_s:
        try:
            return cluster.connect_client_sync(ipython_dir=cluster.profile_dir, timeout=_ASK_AGAIN_S)
        except (TimeoutError, RuntimeError):  # no answer; it ended before it had written where it listens
            if not still_running([process], 0):
                return None
    raise StartError(f"ipyparallel's controller gave no answer within {START_TIMEOUT_S:g} s")


def _listens(cluster: ipp.Cluster) -> bool:
    """Return whether the controller listens on every port that it announced, after some time to take them.

    Taken for granted where the system hides what a process has open, as without /proc.
    """
    files = cluster.controller.connection_files.values()
    announced = [port for file in files for port in _ports(json.loads(Path(file).read_text(encoding="utf-8")))]
    give_up_s = time.monotonic() + _LISTEN_S
    while time.monotonic() < give_up_s:
        try:
            if _listening(cluster.controller.process.pid).issuperset(announced):
                return True
        except (psutil.AccessDenied, OSError):
            return True
        time.sleep(_LOOK_S)
    return False


def _ports(connection: dict[str, Any]) -> Iterator[int]:
    for value in connection.values():
        yield from (each for each in (value if isinstance(value, list) else [value]) if isinstance(each, int))


def _listening(pid: int) -> set[int]:
    """Return the TCP ports on which this process and those below it listen."""
    found = set()
    with contextlib.suppress(psutil.NoSuchProcess):
        controller = psutil.Process(pid)
        for process in [*controller.children(recursive=True), controller]:
            with contextlib.suppress(psutil.NoSuchProcess):  # it has ended, which its port tells
                connections = process.net_connections("tcp")
                found |= {each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN}
    return found


def _kill(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        controller = psutil.Process(pid)
        for process in [*controller.children(recursive=True), controller]:
            process.kill()


def _controller(folder: Path, profile: Path, reaper: Reaper) -> ipp.Cluster:
    """A controller of threads in one process, listening on loopback only, its files in the private folder."""
    _log_errors_only(profile)
    cluster = ipp.Cluster(
        profile_dir=str(profile), cluster_id="lab", cluster_file="", controller_ip=LOOPBACK,
        controller_args=[
            "--nodb",  # or the controller keeps every argument and every result for ever
            "--IPController.use_threads=True", "--IPController.broadcast_scheduler_depth=0",
            f"--HeartMonitor.period={_HEARTBEAT_MS}", f"--HeartMonitor.max_heartmonitor_misses={_HEARTBEATS_MISSED}",
        ],
        engine_launcher_class="local", shutdown_atexit=False, log_level=logging.ERROR, load_profile=False,
    )  # fmt: skip
    cluster.config.ControllerLauncher.environment = _protection() | own_ipython(folder)
    cluster.start_controller_sync()
    reaper.adopt(cluster.controller.process.pid)
    return cluster


def _protection() -> dict[str, str]:
    """Messages signed with a key of these ranks' own, and encrypted where zmq can.

    In the environment, which only the user can read: every user of the machine sees command lines. ipyparallel drops
    its own signing key when it encrypts, but keeps one that it is given.
    """
    encryption = {"IPP_ENABLE_CURVE": "1"} if zmq.has("curve") else {}
    return {"IPP_SESSION_KEY": secrets.token_hex(32), **encryption}


def _log_errors_only(profile: Path) -> None:
    """Configure both applications to drop lesser messages at once: --log-level lets each be made, then drops it."""
    profile.mkdir(mode=0o700)
    for file, name in (("ipcontroller_config.json", "IPController"), ("ipengine_config.json", "IPEngine")):
        config = {name: {"logging_config": {"loggers": {name: {"level": "ERROR"}}}}}
        (profile / file).write_text(json.dumps(config), encoding="utf-8")


def engine_args(cluster: ipp.Cluster) -> list[str]:
    return [
        f"--file={cluster.controller.connection_files['engine']}",
        f"--profile-dir={cluster.profile_dir}",
        "--IPEngine.enable_nanny=False",
        _NO_BEATS_MISSED,
        "--log-level=ERROR",
    ]


def start_stock_engines(
    cluster: ipp.Cluster, ranks: int, *, reaper: Reaper, threads: int, on_end: weakref.WeakMethod
) -> None:
    """Engines as ipyparallel starts them, each importing torch for itself: for systems without fork.

    `on_end(pid, exit code)` is called from a thread for each rank that ends.
    """
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    own = {"GLOO_SOCKET_IFNAME": loopback} | own_ipython(Path(cluster.profile_dir).parent)
    environment = {"OMP_NUM_THREADS": str(threads)} | os.environ | own
    cluster.config.EngineLauncher.environment = environment
    cluster.config.EngineLauncher.engine_args = ["--IPEngine.enable_nanny=False", _NO_BEATS_MISSED]
    before = set(cluster.engines)
    cluster.start_engines_sync(ranks)
    for name in cluster.engines.keys() - before:
        for launcher in cluster.engines[name].launchers.values():
            reaper.adopt(launcher.process.pid)
            watch(launcher, on_end)


def watch(launcher: LocalProcessLauncher, on_end: weakref.WeakMethod) -> None:
    """Call `on_end(pid, exit code)` from a thread when the launcher's process ends."""
    threading.Thread(target=_tell_of_end, args=(launcher, on_end), daemon=True, name=f"ranks: {launcher.pid}").start()


def _tell_of_end(launcher: LocalProcessLauncher, on_end: weakref.WeakMethod) -> None:
    asyncio.run(launcher.join())
    if (tell := on_end()) is not None:
        tell(launcher.process.pid, launcher.process.wait())


def new_engines(
    client: ipp.Client, start: Callable[[], None], ranks: int, fork_server: ForkServer | None,
    death: concurrent.futures.Future, log: Path,
) -> list[int]:  # fmt: skip
    """Call `start` and wait for so many more engines. StartError, with the log's end, when one or its parent ends."""
    known, registered = set(client.ids), concurrent.futures.Future()

    def note(_: object) -> None:
        if len(set(client.ids) - known) == ranks and not registered.done():
            registered.set_result(sorted(set(client.ids) - known))

    client._registration_callbacks.append(note)
    try:
        start()
        ends = [death] if fork_server is None else [death, fork_server.ended]
        done, _ = concurrent.futures.wait([registered, *ends], START_TIMEOUT_S, concurrent.futures.FIRST_COMPLETED)
    finally:
        client._registration_callbacks.remove(note)
    if registered not in done:
        what = "one of the ranks" if death in done else "the ranks' parent process" if done else "nothing"
        raise StartError(f"{what} ended while they started; it said: {_tail(log)}")
    return registered.result()


@contextlib.contextmanager
def beating(controller_pid: int) -> Iterator[None]:
    """Let the controller's heart monitor, a process of its own, run inside only; outside it is stopped."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for monitor in psutil.Process(controller_pid).children():
            monitor.resume()
    try:
        yield
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            for monitor in psutil.Process(controller_pid).children():
                monitor.suspend()


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.exists() else []
    return " | ".join(lines[-3:]) or "nothing"
