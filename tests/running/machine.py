"""The machine that tests run on: made the same for all of them, and as odd as a user's may be where that is tested."""

from __future__ import annotations

import atexit
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What a user's configuration says to the programs that tests start, and no test asks for. Stays: what says where
# programs and packages lie (PATH, PYTHONPATH, CONDA_PREFIX), and which kernels of a library run (ATEN_CPU_CAPABILITY).
OTHERS = re.compile(
    r"(?i).*_proxy|git_.*|lc_.*|language|tz|columns|lines|.*color.*|ci|github_.*|display|wayland_display|ssh_.*|xdg_.*"
    r"|i?python(?!path|home|dontwritebytecode|pycacheprefix|nousersite|unbuffered).+|ipp_.*|jupyter.*|mpl.*"
    r"|(omp|mkl|openblas|numba)_num_threads|numba_(cache_dir|disable_jit)|(gloo|nccl|torch|tokenizers|hf)_.*"
    r"|torchinductor.*|(master|local|group|role)_.*|rank|world_size"
)
SHORT_BYTES = 60  # sockets of Chromium and of multiprocessing lie in TMPDIR, and no address is longer than 107 bytes
FILES = 4096
HOME = "LAB_TESTS_HOME"  # set once it is made: xdist's workers inherit it


def settle(environ: MutableMapping[str, str] = os.environ) -> None:
    """Take the user's configuration away from this process and from all that it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's job in the background; ranks have their own
        signal.signal(signal.SIGINT, signal.default_int_handler)
    resource.setrlimit(resource.RLIMIT_NOFILE, _raised(*resource.getrlimit(resource.RLIMIT_NOFILE)))
    if HOME in environ:
        return
    browsers = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "ms-playwright"
    for name in [name for name in environ if OTHERS.fullmatch(name)]:
        del environ[name]
    if len(tempfile.gettempdir()) > SHORT_BYTES or not tempfile.gettempdir().isascii():
        del environ["TMPDIR"]
        tempfile.tempdir = None
    home = tempfile.mkdtemp(prefix="lab-tests-home-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    environ |= {"HOME": home, HOME: home, "LANG": "C.UTF-8"}
    environ.setdefault("PLAYWRIGHT_BROWSERS_PATH", str(browsers))


def _raised(soft: int, hard: int) -> tuple[int, int]:
    """More open files for the many ranks of one test process, where that is allowed."""
    if soft == resource.RLIM_INFINITY or soft >= FILES:
        return soft, hard
    return (FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)), hard


def odd(folder: Path) -> dict[str, str]:
    """The environment of a user whose machine is odd in every way at once, with which the lab works."""
    (temporary := folder / _in_utf8("tmp ü " + "t" * 111)).mkdir()
    (checkout := folder / _in_utf8("wörk and more")).symlink_to(ROOT)
    (home := folder / _in_utf8("no hôme")).touch()  # a file: not even root can write below it
    dead = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    said_to_torch = {"MASTER_ADDR": "192.0.2.1", "RANK": "5", "WORLD_SIZE": "9", "GLOO_SOCKET_IFNAME": "none0"}
    return dead | said_to_torch | {
        "HOME": str(home), "TMPDIR": str(temporary), "PYTHONPATH": str(checkout), "LC_ALL": "C", "TZ": "Asia/Kathmandu",
        "PYTHONWARNINGS": "error", "COLUMNS": "20", "TERM": "dumb", "MPLBACKEND": "none", "GIT_DIR": "/nowhere",
    }  # fmt: skip


def _in_utf8(name: str) -> str:
    """The name as this process has to write it, in whatever locale the tests run."""
    return os.fsdecode(name.encode())
