"""Finds installed packages whose version differs from requirements.lock, with which the tests ran."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable
from pathlib import Path

LOCK = Path(__file__).parents[2] / "requirements.lock"


def locked_versions(lock: str) -> dict[str, list[str]]:
    """Return the versions by name: several where Pythons or platforms differ."""
    versions: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", lock, re.MULTILINE):
        versions.setdefault(name, []).append(version)
    return versions


def differing(lock: str, installed: Iterable[tuple[str, str]]) -> list[str]:
    """Return what is installed in another version than the lock's: "numpy 2.5.0 (2.4.6 or 2.5.5)"."""
    locked = locked_versions(lock)
    named = sorted((re.sub(r"[-_.]+", "-", name).lower(), version) for name, version in installed)
    return [
        f"{name} {version} ({' or '.join(locked[name])})"
        for name, version in named
        if name in locked and version.partition("+")[0] not in locked[name]  # torch's 2.13.0+cpu is 2.13.0
    ]


def differing_here() -> list[str]:
    """Return what differs in this environment; [] where the lab was installed as a wheel, which has no lock."""
    installed = ((found.name, found.version) for found in importlib.metadata.distributions() if found.name)
    return differing(LOCK.read_text(encoding="utf-8"), installed) if LOCK.exists() else []


def in_one_line() -> str:
    """Return the line for `make test-latest`."""
    found = differing_here()
    if not found:
        return f"All releases are those of {LOCK.name}."
    return f"Other releases than those of {LOCK.name}, which stand in brackets: {', '.join(found)}."
