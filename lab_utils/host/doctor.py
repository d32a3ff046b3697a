"""`python -m lab_utils doctor`: one screen of what is present, what is missing, and the fix.

Needs the standard library only, so that it also works when the installation has failed.
"""

from __future__ import annotations

import datetime
import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab_utils.host import machine, memory_limits, releases

PRESENT, MISSING, OPTIONAL = "✓", "✗", "–"
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
GLOO_TIMEOUT_S = 120.0  # time for two processes to load torch on a busy machine
CHAPTER_RANKS = 4


@dataclass(frozen=True)
class Finding:
    """One line of the report; `mend` is the fix in one short sentence, empty when none is needed."""

    mark: str
    name: str
    found: str
    mend: str = ""

    def __str__(self) -> str:
        line = f"{self.mark} {self.name:<12} {self.found}"
        return f"{line}\n  {'':<12} → {self.mend}" if self.mend else line


def check_python() -> Finding:
    found = f"{platform.python_version()} at {sys.executable}"
    if (3, 11) <= sys.version_info[:2] <= (3, 14):
        return Finding(PRESENT, "Python", found)
    return Finding(MISSING, "Python", found, "Take 3.11 to 3.14: make clean, make lab PYTHON=/path/to/python3.12.")


def check_packages() -> Iterator[Finding]:
    """Check the packages that pyproject.toml requires, read from the installed distribution."""
    try:
        requirements = importlib.metadata.requires("parallel-training-lab") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding(MISSING, "the lab", "not installed in this Python", "Run make lab.")
        return
    needed = [re.match(r"[\w.-]+", line)[0] for line in requirements if "extra ==" not in line]
    versions = {name: _version(name) for name in needed if name != "torch"}
    absent = [name for name, version in versions.items() if version is None]
    for name in ("jupyterlab", "ipyparallel"):
        if name not in absent:
            yield Finding(PRESENT, name, versions[name])
    if absent:
        yield Finding(MISSING, "packages", f"missing: {', '.join(absent)}", "Run make clean, then make lab.")
    else:
        yield Finding(PRESENT, "packages", f"all {len(needed) - 1} others")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_releases() -> Iterator[Finding]:
    """Report packages of a checkout whose versions differ from the tested ones."""
    found = releases.differing_here()
    if found:
        named = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
        mend = f"Run make clean, then make lab, for those of {releases.LOCK.name}."
        yield Finding(OPTIONAL, "releases", f"{len(found)} not as tested: {named}", mend)


def check_torch() -> Iterator[Finding]:
    """Check torch, then with it gloo's all-reduce over loopback and the GPU."""
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:  # OSError: a shared library of torch cannot be loaded
        yield Finding(MISSING, "torch", f"cannot be imported: {error}", "Run make clean, then make lab.")
        yield Finding(MISSING, "gloo", "not tried, because torch is missing")
        return
    build = f"CUDA {torch.version.cuda} build" if torch.version.cuda else "CPU build"
    yield Finding(PRESENT, "torch", f"{torch.__version__}, {build}")
    yield check_gloo()
    yield check_gpu(torch)


def check_gpu(torch) -> Finding:
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return Finding(PRESENT, "GPU", f"{len(names)}: {', '.join(sorted(set(names)))}")
    if shutil.which("nvidia-smi"):
        return Finding(OPTIONAL, "GPU", "there is one, this torch does not use it", "Run make lab GPU=1 to use it.")
    return Finding(OPTIONAL, "GPU", "none; the ranks run on the CPU")


def gloo_rank(rank: int, store: str) -> None:
    """Run one of two ranks: join the other over loopback; RuntimeError unless the all-reduce of rank + 1 gives 3."""
    import torch
    import torch.distributed as dist

    limit = datetime.timedelta(seconds=GLOO_TIMEOUT_S / 4)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2, timeout=limit)
    total = torch.tensor([rank + 1.0])
    dist.all_reduce(total)
    dist.destroy_process_group()
    if total.item() != 3.0:
        raise RuntimeError(f"1 + 2 came back as {total.item()} on rank {rank}")


def check_gloo() -> Finding:
    """Check that two processes can form a group on the loopback interface and all-reduce one number."""
    loopback = next((name for _, name in socket.if_nameindex() if name in ("lo", "lo0")), None)
    environ = {**os.environ, **({"GLOO_SOCKET_IFNAME": loopback} if loopback else {})}
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder, "store"))
        ranks = [
            _start(f"from lab_utils.host.doctor import gloo_rank; gloo_rank({r}, {store!r})", environ) for r in (0, 1)
        ]
        try:
            errors = [rank.communicate(timeout=GLOO_TIMEOUT_S)[1] for rank in ranks]
        except subprocess.TimeoutExpired:
            errors = [f"no answer within {GLOO_TIMEOUT_S:.0f} s"]
        finally:
            for rank in ranks:
                rank.kill()
                rank.communicate()
    if all(rank.returncode == 0 for rank in ranks):
        return Finding(PRESENT, "gloo", "2 processes formed a group on loopback and all-reduced")
    reason = next((text.strip().splitlines()[-1] for text in errors if text.strip()), "a rank died without a word")
    return Finding(
        MISSING,
        "gloo",
        reason,
        "Let processes of this machine reach each other on 127.0.0.1 (firewall, VPN); if it was busy, ask once more.",
    )


def _start(program: str, environ: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", program], env=environ, encoding="utf-8", stderr=subprocess.PIPE)


def check_machine() -> Finding:
    """Check loopback, temporary files and open files, which ranks need and some configurations lack."""
    if trouble := machine.trouble() or machine.files_trouble(CHAPTER_RANKS):
        what, _, mend = trouble.rpartition(": ")
        return Finding(MISSING, "machine", what, f"{mend[0].upper()}{mend[1:]}.")
    return Finding(PRESENT, "machine", "loopback, temporary files and open files for 4 ranks")


def check_cores() -> Finding:
    if (cores := machine.cores()) > 1:
        return Finding(PRESENT, "cores", str(cores))
    return Finding(OPTIONAL, "cores", "1", "Everything works; the ranks take turns, so it is slower.")


def check_memory() -> Finding:
    """Check free memory, a container's limit if one is set, and how many ranks fit."""
    group = memory_limits.tightest_cgroup()
    limit = f", limit of this container {group.limit_bytes / 1e9:.1f} GB" if group else ""
    try:
        free = memory_limits.free_bytes()
    except ImportError:
        return Finding(MISSING, "memory", f"unknown, because psutil is missing{limit}", "Run make lab.")
    except OSError as error:
        return Finding(MISSING, "memory", f"unknown, because {error.filename} cannot be read{limit}")
    fits = memory_limits.most_ranks(free)
    found = f"{free / 1e9:.1f} GB free{limit}, room for {fits} ranks"
    if fits >= CHAPTER_RANKS:
        return Finding(PRESENT, "memory", found)
    return Finding(MISSING, "memory", found, f"The chapters start {CHAPTER_RANKS} ranks: close other programs.")


def chromium_path() -> str | None:
    """Return the Chromium or Chrome for the browser test: one on PATH, else playwright's own download."""
    on_path = (shutil.which(name) for name in CHROMIUMS)
    downloads = os.environ.get("PLAYWRIGHT_BROWSERS_PATH")
    cache = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "ms-playwright"
    programs = ("chrome", "Chromium", "Google Chrome for Testing")
    downloaded = (
        str(path)
        for path in sorted(Path(downloads or cache).glob("chromium-*/**/*"), reverse=True)
        if path.name in programs and path.is_file() and os.access(path, os.X_OK)
    )
    return next((path for path in on_path if path), None) or next(downloaded, None)


def check_browser() -> Finding:
    path = chromium_path()
    if path:
        return Finding(PRESENT, "browser", path)
    return Finding(OPTIONAL, "browser", "no Chromium or Chrome", "Any browser shows the lab; make test installs one.")


CHECKS = (
    check_python,
    check_packages,
    check_machine,
    check_releases,
    check_torch,
    check_cores,
    check_memory,
    check_browser,
)


def main(argv: Sequence[str] = ()) -> int:
    """Print one finding per line; return 1 when something needed is missing, 2 on bad usage, else 0."""
    if argv:
        print(f"doctor takes no arguments, got {' '.join(argv)}.", file=sys.stderr)
        return 2
    findings = []
    for check in CHECKS:
        result = check()
        for finding in [result] if isinstance(result, Finding) else result:
            print(finding, flush=True)
            findings.append(finding)
    missing = sum(finding.mark == MISSING for finding in findings)
    print(f"\n{missing} of {len(findings)} are missing." if missing else "\nNothing is missing.")
    return int(missing > 0)
