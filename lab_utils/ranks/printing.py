"""What ranks printed, in rank order, identical outputs once: "ranks 0-3: …". The same on every run."""

from __future__ import annotations

from collections.abc import Iterable


def name_ranks(ranks: Iterable[int]) -> str:
    """"rank 2", "ranks 0-3", "ranks 0, 2-3"."""  # fmt: skip
    ranks = sorted(ranks)
    runs: list[list[int]] = []
    for rank in ranks:
        if runs and rank == runs[-1][-1] + 1:
            runs[-1].append(rank)
        else:
            runs.append([rank])
    named = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"rank{'s' if len(ranks) > 1 else ''} {named}"


def merge(outputs: dict[int, str]) -> str:
    """One text from {rank: text}: ranks that said the same are named together, at the first one's place."""
    groups: dict[str, list[int]] = {}
    for rank in sorted(outputs):
        if text := outputs[rank].rstrip("\n"):
            groups.setdefault(text, []).append(rank)
    return "".join(block(name_ranks(ranks), text) for text, ranks in groups.items())


def as_on_a_terminal(text: str) -> str:
    """The text as a terminal shows it at last: what follows a carriage return overwrites the line (a bar of tqdm's)."""
    if "\r" not in text:
        return text
    return "\n".join(map(_overwritten, text.replace("\r\n", "\n").split("\n")))


def _overwritten(line: str) -> str:
    shown = ""
    for part in line.split("\r"):
        shown = part + shown[len(part) :]
    return shown


def block(name: str, text: str) -> str:
    """The text under a name of whose it is; a line of its own where there are several."""
    if "\n" not in text:
        return f"{name}: {text}\n"
    indented = text.replace("\n", "\n  ")
    return f"{name}:\n  {indented}\n"
