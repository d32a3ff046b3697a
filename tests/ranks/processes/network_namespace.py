"""Two network namespaces joined by a cable: in one the lab, in the other somebody who knocks at all its ports.

Run by `report()` as a file in a namespace of its own, where it starts JupyterLab and a notebook with ranks, of a user
whose own servers are open to all, and whose machine is odd in every way. There it starts itself again, in a second
namespace, as the one who knocks.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LAB, KNOCKER = "10.99.0.1", "10.99.0.2"
KNOCK_S = 2.0
OWN_USER = ["unshare", "--user", "--map-root-user", "--net"]  # needs no rights, where it is allowed
OWN_NETWORK = ["unshare", "--net"]  # needs CAP_SYS_ADMIN
OPEN_TO_ALL = "c.ServerApp.ip = '0.0.0.0'\n"
STEP = """
from lab_utils import start_ranks

def step():
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    model = DistributedDataParallel(torch.nn.Linear(4, 4))
    model(torch.ones(2, 4)).sum().backward()
    return dist.get_world_size()

ranks = start_ranks(2)
print(ranks.run(step))
"""


# ---------------------------------------------------------------------- from the test
def report() -> dict[str, Any]:
    """What the lab printed, where it listens, and how its ports answered from the second namespace.

    said       what the cell with the DDP step printed
    server     the server's port
    before     [address, port] at which the lab's processes listen before that cell, seen from inside
    after      the same after it: the ranks' too
    answers    {port: "answered" or an error} of every one from 1 to 65535 that does not refuse the other namespace
    control    a port at which a server listens on all addresses
    """
    line, path = [*_unshare(), sys.executable, __file__, "lab"], {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(line, env=os.environ | path, capture_output=True, encoding="utf-8")
    if done.returncode:
        raise AssertionError(f"the program in the namespace failed: {done.stderr[-3000:]}")
    return json.loads(done.stdout)


def _unshare() -> list[str]:
    """The command before a program that puts it into a new network namespace."""
    said = []
    for line in (OWN_USER, OWN_NETWORK):
        try:
            tried = subprocess.run([*line, "true"], capture_output=True, encoding="utf-8")
        except FileNotFoundError:
            raise AssertionError("there is no unshare command: network namespaces need Linux and util-linux") from None
        if tried.returncode == 0:
            return line
        said.append(tried.stderr.strip())
    raise AssertionError(
        f"this machine makes no network namespace ({'; '.join(said)}): allow user namespaces with "
        "`sysctl user.max_user_namespaces=10000 kernel.apparmor_restrict_unprivileged_userns=0`, "
        "or run the tests as root with CAP_SYS_ADMIN (docker run --privileged)"
    )


# ---------------------------------------------------------------------- in the lab's namespace
def _lab() -> dict[str, Any]:
    from lab_server import execute, serve
    from machine import odd
    from rank_processes import listening

    _up("lo")
    with _knocker() as knock, _home() as home, serve(home, odd(home)) as server:
        with server.kernel() as (name, client), socket.create_server(("0.0.0.0", 0)) as open_to_all:
            before = sorted(listening(server.process.pid))
            said = execute(client, STEP)
            after, control = sorted(listening(server.process.pid)), open_to_all.getsockname()[1]
            answers = knock()
            server.ask("DELETE", f"kernels/{name}")
    found = {"server": server.port, "before": before, "after": after}
    return {"said": said, "answers": answers, "control": control, **found}


@contextmanager
def _home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hôme and more ") as home:
        settings = Path(home, ".jupyter", "jupyter_server_config.py")
        settings.parent.mkdir()
        settings.write_text(OPEN_TO_ALL, encoding="utf-8")
        yield Path(home)


@contextmanager
def _knocker() -> Iterator[Any]:
    """A process in a second namespace, at the other end of a cable; call it to learn which ports answer there."""
    line = [*OWN_NETWORK, sys.executable, __file__, "knock"]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout.readline() == "there\n"
        _lay_cable("lab", "knocker", process.pid)
        _up("lab", LAB)

        def knock() -> dict[str, str]:
            answers, _ = process.communicate("now\n")
            return json.loads(answers)

        yield knock


def _knock() -> dict[int, str]:
    """In the second namespace: says that it is there, waits for a line, and tries every port of the lab's address."""
    print("there", flush=True)
    sys.stdin.readline()
    _up("knocker", KNOCKER)
    return {port: answer for port in range(1, 1 << 16) if (answer := _answer(port)) != "refused"}


def _answer(port: int) -> str:
    with socket.socket() as knocker:
        knocker.settimeout(KNOCK_S)
        try:
            knocker.connect((LAB, port))
        except ConnectionRefusedError:
            return "refused"
        except OSError as error:
            return f"{type(error).__name__}: {error}"
    return "answered"


# ---------------------------------------------------------------------- interfaces, by the kernel's own calls
_SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK, _IFF_UP = 0x8914, 0x8916, 0x891C, 1
_RTM_NEWLINK, _REQUEST_CREATE_ACK = 16, 0x1 | 0x4 | 0x200 | 0x400
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_NET_NS_PID = 3, 18, 19
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_LINK = struct.pack("=BxHiII", 0, 0, 0, 0, 0)  # ifinfomsg: the kernel chooses all of it


def _up(interface: str, address: str | None = None) -> None:
    """Switch the interface on, with this address in a /24 network."""
    name = interface.encode()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asks:
        if address is not None:
            for request, value in ((_SIOCSIFADDR, address), (_SIOCSIFNETMASK, "255.255.255.0")):
                place = struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(value))
                fcntl.ioctl(asks, request, struct.pack("=16s16s8x", name, place))
        fcntl.ioctl(asks, _SIOCSIFFLAGS, struct.pack("=16sH22x", name, _IFF_UP))


def _lay_cable(near: str, far: str, pid: int) -> None:
    """A veth pair: `near` here, `far` in the namespace of that process. OSError when the kernel refuses."""
    peer = _LINK + _attribute(_IFLA_IFNAME, far.encode() + b"\0") + _attribute(_IFLA_NET_NS_PID, struct.pack("=I", pid))
    kind = _attribute(_INFO_KIND, b"veth") + _attribute(_INFO_DATA, _attribute(_VETH_PEER, peer))
    body = _LINK + _attribute(_IFLA_IFNAME, near.encode() + b"\0") + _attribute(_IFLA_LINKINFO, kind)
    head = struct.pack("=IHHII", 16 + len(body), _RTM_NEWLINK, _REQUEST_CREATE_ACK, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as route:
        route.send(head + body)
        (error,) = struct.unpack_from("=i", route.recv(1 << 16), 16)
    if error:
        raise OSError(-error, f"no veth pair: {os.strerror(-error)}")


def _attribute(kind: int, value: bytes) -> bytes:
    """A netlink attribute: its length, its kind, its value up to the next multiple of 4."""
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


if __name__ == "__main__":
    print(json.dumps({"lab": _lab, "knock": _knock}[sys.argv[1]]()))
