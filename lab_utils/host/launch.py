"""`make lab`: JupyterLab on the reader's copy of the first chapter, with the flags that this machine and user need."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from lab_utils.host import machine, work
from lab_utils.text import counted, verb

SETTINGS = Path(__file__).parents[1] / "jupyter"
FIRST_CHAPTER = "00_ranks.ipynb"
PORT_FLAGS = ("--port", "--ServerApp.port", "--LabApp.port")
ADDRESS_FLAGS = ("--ip", "--ServerApp.ip", "--LabApp.ip")
ROOT_FLAGS = ("--notebook-dir", "--ServerApp.root_dir", "--ServerApp.notebook_dir")
PROXIES = ("ALL_PROXY", "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY")  # read by JupyterLab


def has_screen(environ: Mapping[str, str], platform: str = sys.platform) -> bool:
    """Whether a browser opened here would be seen: not over SSH, and on Linux only under X or Wayland."""
    if environ.get("SSH_CONNECTION") or environ.get("SSH_TTY"):
        return False
    return not platform.startswith("linux") or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def named(flags: Sequence[str], arguments: Sequence[str]) -> str | None:
    """Return the value of the first of these flags, as `--port=9999` or `--port 9999`; None when none is there."""
    for argument, after in zip_longest(arguments, arguments[1:], fillvalue=""):
        flag, equals, value = argument.partition("=")
        if flag in flags:
            return value if equals else after
    return None


def named_port(arguments: Sequence[str]) -> int | None:
    """Return the port that the user asks for, None when JupyterLab may choose."""
    text = named(PORT_FLAGS, arguments)
    return int(text) if text is not None and text.isdigit() else None


def port_is_free(port: int) -> bool:
    """Whether this port can be bound on loopback now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free, as for JupyterLab
        try:
            probe.bind((machine.LOOPBACK, port))
        except OSError:
            return False
    return True


def paths(environ: Mapping[str, str]) -> dict[str, str]:
    """Return JupyterLab's path variables with the lab's own folder first.

    Its settings encrypt messages between notebooks and kernels, since other users of the machine may listen on
    loopback, of which ipykernel warns, and turn off the question about news on the first page. Its extension shows a
    still picture where there is no widget.
    """
    names = ("JUPYTER_CONFIG_PATH", "JUPYTER_PATH")
    return {name: os.pathsep.join(filter(None, [str(SETTINGS), environ.get(name)])) for name in names}


def command(arguments: Sequence[str], *, screen: bool, root: bool, folder: Path = work.WORK) -> list[str]:
    """Return the command line that opens JupyterLab on the first chapter in `folder`, the user's `arguments` last.

    It listens on loopback, unless `arguments` name another address.
    """
    # By URL, not as a file argument: then the URL that JupyterLab prints leads there as well.
    line = [sys.executable, "-m", "jupyterlab", f"--LabApp.default_url=/lab/tree/{folder.as_posix()}/{FIRST_CHAPTER}"]
    if not screen:
        line.append("--no-browser")  # JupyterLab then prints its URL with the token
    if named(ADDRESS_FLAGS, arguments) is None:  # JupyterLab refuses a repeated flag
        line.append(f"--ServerApp.ip={machine.LOOPBACK}")  # overrides the user's settings for other servers
    if named(ROOT_FLAGS, arguments) is None:  # the chapters' folder, overriding the user's settings
        line.append("--ServerApp.root_dir=.")
    if root:
        line.append("--allow-root")
    if named_port(arguments) is not None:
        line.append("--ServerApp.port_retries=0")  # fail if a named port is taken, rather than take the next
    return [*line, *arguments]


def folders_trouble() -> str:
    """Return why JupyterLab and its kernels cannot write connection files, settings or history; "" if they can."""
    from jupyter_core.paths import jupyter_config_dir, jupyter_data_dir, jupyter_runtime_dir

    ipython = os.path.expanduser(os.environ.get("IPYTHONDIR") or "~/.ipython")
    for folder in (jupyter_runtime_dir(), jupyter_data_dir(), jupyter_config_dir(), ipython):
        if why := machine.cannot_keep(Path(folder)):
            named = (name for name in os.environ if re.match("JUPYTER|IPYTHON|XDG", name))
            name = next((name for name in named if folder.startswith(os.environ[name] or "?")), "HOME")
            return f"{why}: set {name} to a folder of your own, for example `{name}=/tmp/lab make lab`"
    return ""


def unusable_proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Return {variable: why} of proxies on which JupyterLab's import fails: SOCKS, an address without "http://"."""
    given = {name: environ[name] for name in PROXIES if environ.get(name)}
    if not given:
        return {}
    import httpx

    unusable = {}
    for name, address in given.items():
        try:
            httpx.HTTPTransport(proxy=address).close()
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            unusable[name] = str(error).partition(". ")[0]
    return unusable


def prepare() -> Path:
    """Copy the chapters that work/ lacks, and say so; return the folder to open: labs/ where nothing can be written."""
    work.trust(sorted(work.CHAPTERS.glob("*.ipynb")))
    try:
        made = work.copy_missing()
    except OSError as error:
        print(f"Chapters open in labs/, as {work.WORK}/ cannot be written: {error.strerror}.", file=sys.stderr)
        return work.CHAPTERS
    if made:
        them, copied = "it" if len(made) == 1 else "them", f"{counted(len(made), 'chapter')} {verb(len(made), 'are')}"
        print(f"{copied} copied to {work.WORK}/: change and run {them} there.", file=sys.stderr)
    if changed := [name for name, lines in work.report() if lines]:
        print(f"Changed in labs/ since you copied it: {', '.join(changed)}.", file=sys.stderr)
        print("What changed: .venv/bin/python -m lab_utils work", file=sys.stderr)
    return work.WORK


def main(arguments: Sequence[str]) -> int:
    """Replace this process by JupyterLab; return the exit status only when it cannot start."""
    port = named_port(arguments)
    if sentence := work.not_here():
        print(sentence, file=sys.stderr)
        return 2
    if port is not None and not port_is_free(port):
        print(f"Port {port} is in use: name another, or none and JupyterLab takes a free one.", file=sys.stderr)
        return 1
    if sentence := machine.trouble() or folders_trouble():
        print(f"JupyterLab cannot start: {sentence}.", file=sys.stderr)
        return 1
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    line = command(arguments, screen=has_screen(os.environ), root=root, folder=prepare())
    unusable = unusable_proxies(os.environ)
    for name, why in unusable.items():
        print(f"JupyterLab and its notebooks start without the proxy in {name}: {why}.", file=sys.stderr)
    environ = {name: value for name, value in os.environ.items() if name not in unusable}
    os.execve(line[0], line, {**environ, **paths(environ)})
