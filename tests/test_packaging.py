"""The ways in agree with each other: pyproject.toml, the lock, the environment files, the Makefile, Binder and CI."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
import quick_files
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PYTHONS = ("3.11.0", "3.11.14", "3.12.0", "3.13.0", "3.14.0")
SCRIPTS = ["binder/postBuild", "binder/start", ".ci/run", "tests/browser/install_browser.sh"]
ON_LINUX = sys.platform == "linux"
CPU_BUILD = "2.13.0+cpu" if ON_LINUX else "2.13.0"


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make as a person would: the variables of a make above this test are not handed on."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "GPU"))}
    line = ["make", "--no-print-directory", *arguments]
    return subprocess.run(line, cwd=ROOT, env=environ, encoding="utf-8", capture_output=True)


def asked() -> list[Requirement]:
    """What pyproject.toml asks for to run, to test and to build the lab."""
    lines = [
        *PROJECT["dependencies"],
        *PROJECT["optional-dependencies"]["test"],
        *PYPROJECT["build-system"]["requires"],
    ]
    return [Requirement(line) for line in lines]


def oldest(name: str) -> str:
    """The version where the range that pyproject.toml allows begins."""
    (wish,) = [wish for wish in asked() if wish.name == name]
    return str(wish.specifier).removeprefix(">=")


def locked(platform: str, python: str) -> list[tuple[str, str]]:
    """Name and version of each release that the lock takes there."""
    there = {"sys_platform": platform, "platform_machine": "arm64", "implementation_name": "cpython"}
    there |= {"python_full_version": python, "python_version": python.rpartition(".")[0]}
    pins = [Requirement(line) for line in re.findall(r"^[^\s#].*", LOCK, re.MULTILINE)]
    return [(pin.name, str(pin.specifier)) for pin in pins if pin.marker is None or pin.marker.evaluate(there)]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_the_lock_takes_one_release_that_pyproject_allows(platform: str, python: str) -> None:
    pins = locked(platform, python)
    releases = {name: specifier.removeprefix("==") for name, specifier in pins}
    assert len(releases) == len(pins), "two releases of one name"
    assert [specifier for _, specifier in pins if not re.fullmatch(r"==[\w.+!]+", specifier)] == []
    assert [wish.name for wish in asked() if wish.name not in releases] == []
    assert [str(wish) for wish in asked() if releases[wish.name] not in wish.specifier] == []


def test_the_lock_was_made_from_what_pyproject_asks_for() -> None:
    """Each release in the lock is followed by those that ask for it."""
    wanted = [entry for entry in re.split(r"^(?=\S)", LOCK, flags=re.MULTILINE) if f"{PROJECT['name']} (" in entry]
    assert {entry.partition("==")[0] for entry in wanted} == {wish.name for wish in asked()}


def test_every_way_in_installs_by_the_lock() -> None:
    version, index = make_variable("TORCH"), f"--extra-index-url {make_variable('TORCH_INDEX')}"
    by_conda, by_binder = (
        yaml.safe_load((ROOT / folder / "environment.yml").read_text(encoding="utf-8")) for folder in ("", "binder")
    )
    *conda, pips = by_conda["dependencies"]
    assert by_conda["name"] == by_binder["name"] == PROJECT["name"]
    assert conda == by_binder["dependencies"] == [f"python={PROJECT['requires-python'].removeprefix('>=')}", "pip"]
    assert pips["pip"] == [index, f"torch=={version}", "-c requirements.lock", "-e ."]
    post_build = (ROOT / "binder/postBuild").read_text(encoding="utf-8")
    assert re.findall(r"^pip (.*)", post_build, re.MULTILINE) == [
        f"install --no-deps {index} torch=={version}+cpu",
        "install -c requirements.lock setuptools",
        "install -c requirements.lock --no-build-isolation .",
    ]
    for module in re.findall(r"lab_utils[.\w]+", post_build):
        assert find_spec(module), module
    planned = make("--dry-run", "PYTHON=" + sys.executable, "VENV=no-such-folder", "lint").stdout
    pip = [line.partition(" install ")[2] for line in planned.splitlines() if " -m pip " in line]
    apart = ("torch==", f"/oldest cloudpickle=={oldest('cloudpickle')}.0 ")
    assert [line for line in pip if not any(mark in line for mark in (*apart, "-c requirements.lock "))] == []
    assert len(pip) == 5
    assert ("torch", f"=={version}") in locked("linux", PYTHONS[0])


def make_variable(name: str) -> str:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return re.search(rf"^{name} *:= *(\S+)$", text, re.MULTILINE)[1]


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_run_and_stop_at_the_first_error(name: str) -> None:
    path = ROOT / name
    text = path.read_text(encoding="utf-8")
    assert text.startswith("#!/bin/bash\n")
    assert re.search(r"^set -e", text, re.MULTILINE)
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", path], check=True)


def test_binder_start_hands_over_with_the_labs_settings() -> None:
    names = ("OMP_NUM_THREADS", "JUPYTER_CONFIG_PATH", "JUPYTER_PATH")
    program = f"import os; print(*(os.environ[name] for name in {names}), sep=chr(10))"
    environ = {**os.environ, "REPO_DIR": str(ROOT), "JUPYTER_CONFIG_PATH": "/theirs", "JUPYTER_PATH": "/theirs"}
    said = subprocess.check_output(
        [ROOT / "binder/start", sys.executable, "-c", program], env=environ, encoding="utf-8"
    )
    threads, settings, data = said.splitlines()
    assert (threads, settings.split(":")[1], data.split(":")[1]) == ("1", "/theirs", "/theirs")
    assert Path(settings.split(":")[0], "labconfig/default_setting_overrides.json").is_file()
    assert Path(data.split(":")[0], "labextensions/parallel-training-lab/package.json").is_file()


def test_ci_runs_what_people_run() -> None:
    assert (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()[-1] == "make test"


def test_quick_leaves_out_what_starts_processes(tmp_path: Path) -> None:
    some = {"test_timeline.py", "test_schedule.py", "test_pictures.py", "test_parity.py", quick_files.WITH_RANKS}
    quick = {path.name for path in (ROOT / "tests").rglob("test_*.py") if quick_files.is_quick(path)}
    assert some <= quick
    assert not {"test_packaging.py", "test_ranks.py", "test_gpt.py", "test_browser.py"} & quick
    new = "from rank_processes import of\n"  # names nothing itself, its helper does
    (tmp_path / "test_new.py").write_text(new, encoding="utf-8")
    assert not quick_files.is_quick(tmp_path / "test_new.py")


def fake_torch(folder: Path, version: str) -> None:
    """A wheel that is nothing but its name and version."""
    info = f"torch-{version}.dist-info"
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"torch-{version}-py3-none-any.whl", "w") as wheel:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(name, text)


def torch_chosen(folder: Path, *variables: str) -> str | None:
    """The torch that pip takes out of `folder` by the Makefile's arguments, however pip is configured here."""
    arguments = shlex.split(make("-s", "torch-args", *variables).stdout)
    report = folder / "report.json"
    line = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--report", report]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environ["PIP_CONFIG_FILE"] = os.devnull
    done = subprocess.run(
        [*line, "--no-index", "--find-links", folder, *arguments], env=environ, encoding="utf-8", capture_output=True
    )
    if done.returncode:
        return None
    (torch,) = json.loads(report.read_text(encoding="utf-8"))["install"]
    return torch["metadata"]["version"]


@pytest.mark.parametrize(("gpu", "wanted"), [("GPU=0", CPU_BUILD), ("GPU=1", "2.13.0")])
def test_make_takes_the_torch_that_was_asked_for(gpu: str, wanted: str, tmp_path: Path) -> None:
    for version in {"2.13.0", CPU_BUILD, "2.14.0"}:
        fake_torch(tmp_path, version)
    assert torch_chosen(tmp_path, gpu) == wanted


def test_on_linux_make_fails_rather_than_take_cuda_unasked(tmp_path: Path) -> None:
    fake_torch(tmp_path, "2.13.0")
    assert torch_chosen(tmp_path, "GPU=0") == (None if ON_LINUX else "2.13.0")


def test_the_cpu_build_brings_no_cuda_packages() -> None:
    torch = importlib.metadata.version("torch")
    assert torch in Requirement(PROJECT["dependencies"][0]).specifier
    installed = {distribution.name.lower() for distribution in importlib.metadata.distributions()}
    if torch.endswith("+cpu"):
        assert [name for name in sorted(installed) if name.startswith(("nvidia-", "triton"))] == []


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (["GPU=maybe", "help"], "GPU=maybe is not understood"),
        (["PYTHON=", "VENV=no-such-folder", "lab"], "No Python 3.11 to 3.14 found"),
        (["PYTHON=false", "VENV=no-such-folder", "lab"], "PYTHON=false is not Python 3.11 to 3.14"),
    ],
)
def test_make_says_what_is_wrong_in_one_sentence(variables: list[str], sentence: str) -> None:
    done = make(*variables)
    assert done.returncode != 0
    assert sum(sentence in line for line in done.stderr.splitlines()) == 1
    assert not (ROOT / "no-such-folder").exists()


def test_make_help_names_every_command() -> None:
    said = make("help").stdout
    assert re.findall(r"^make (\w+) ", said, re.MULTILINE)[:3] == ["help", "lab", "test"]
    assert {"quick", "bench", "doctor", "lock", "test-latest", "clean"} <= set(said.split())


def test_the_wheel_holds_what_the_package_needs(tmp_path: Path) -> None:
    """Binder installs a wheel, not the checkout: every module, text and script has to be in it."""
    copy = tmp_path / "source"
    copy.mkdir()
    shutil.copytree(ROOT / "lab_utils", copy / "lab_utils", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    build = "from setuptools import build_meta; build_meta.build_wheel('..')"  # as pip does, which takes twice as long
    subprocess.run([sys.executable, "-c", build], cwd=copy, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    needed = {
        path.relative_to(copy).as_posix()
        for path in (copy / "lab_utils").rglob("*")
        if path.suffix in {".py", ".txt", ".js", ".css", ".json"}
    }
    assert needed <= inside, f"missing from the wheel: {sorted(needed - inside)}"
    assert [name for name in inside if not name.startswith(("lab_utils/", "parallel_training_lab-"))] == []


def test_every_command_is_there() -> None:
    line = [sys.executable, "-m", "lab_utils"]
    said = subprocess.check_output([*line, "--help"], cwd=ROOT, encoding="utf-8")
    assert {"lab", "doctor", "bench"} <= set(said.split())
    wrong = subprocess.run([*line, "paint"], cwd=ROOT, encoding="utf-8", capture_output=True)
    assert wrong.returncode == 2
    assert "invalid choice: 'paint'" in wrong.stderr
