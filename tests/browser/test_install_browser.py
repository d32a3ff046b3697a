"""install_browser.sh with stand-ins for the machine's commands: it installs once and never fails silently."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("install_browser.sh")
ROOT = SCRIPT.parents[2]
BASH = shutil.which("bash")


class Machine:
    """A PATH that holds only what is put there, and a log of what was asked of it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "bin"
        self.path.mkdir()
        self.log = folder / "log"
        self.log.touch()
        self.cache = folder / "cache"
        (self.path / "env").symlink_to(shutil.which("env"))
        real = f'*) exec {shlex.quote(sys.executable)} "$@";;'
        self.command("python", f'case "$*" in *playwright*) {self.asked("playwright")};; {real} esac')

    def asked(self, name: str, then: str = "exit 1") -> str:
        return f'echo "{name} $*" >> {self.log}; {then}'

    def command(self, name: str, body: str) -> None:
        program = self.path / name
        program.write_text(f"#!{BASH}\n{body}\n", encoding="utf-8")
        program.chmod(0o755)

    def debian(self, apt_works: bool) -> None:
        """Debian as root, whose apt-get puts a chromium on PATH, or fails."""
        chromium = self.path / "chromium"
        makes = f"printf '#!{BASH}\\n' > {chromium}; {shutil.which('chmod')} +x {chromium}"
        self.command("grep", "exit 0")
        self.command("id", "echo 0")
        self.command("apt-get", self.asked("apt-get", makes if apt_works else "exit 100"))

    def run(self) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "PATH": str(self.path), "PLAYWRIGHT_BROWSERS_PATH": str(self.cache)}
        line = [BASH, SCRIPT, self.path / "python"]
        return subprocess.run(line, cwd=ROOT, env=environ, encoding="utf-8", capture_output=True)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_browser_that_is_there_is_left_alone(machine: Machine) -> None:
    machine.debian(apt_works=True)
    machine.command("google-chrome", "exit 0")
    done = machine.run()
    assert (done.returncode, done.stdout, machine.log.read_text(encoding="utf-8")) == (0, "", "")


def test_on_debian_apt_installs_it_once(machine: Machine) -> None:
    machine.debian(apt_works=True)
    assert machine.run().returncode == 0
    asked = machine.log.read_text(encoding="utf-8").splitlines()
    assert asked == ["apt-get -qq update", "apt-get -qq -y --no-install-recommends install chromium"]
    assert machine.run().returncode == 0
    assert machine.log.read_text(encoding="utf-8").splitlines() == asked


def test_an_apt_that_fails_is_not_passed_over(machine: Machine) -> None:
    machine.debian(apt_works=False)
    assert machine.run().returncode == 100


def test_elsewhere_playwright_downloads_and_its_failure_is_one_sentence(machine: Machine) -> None:
    machine.command("grep", "exit 1")
    machine.command("id", "echo 1000")
    machine.command("sudo", "exit 1")
    done = machine.run()
    assert done.returncode == 1
    assert machine.log.read_text(encoding="utf-8") == "playwright -m playwright install chromium\n"
    assert done.stderr == (
        "No Chromium for the browser test: install chromium or google-chrome, then run make test again.\n"
    )
