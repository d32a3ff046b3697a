"""Text of a picture of a collective's steps: in cells, in tooltips, for screen readers."""

from __future__ import annotations

from lab_utils.text import bytes_text
from lab_utils.widgets.collective_steps.replay import Parts
from lab_utils.widgets.collective_steps.steps import Chunk, ChunkSteps, Holding, Sent

MOST_NAMED = 4  # up to this many ranks a cell names its parts, "0+1+2"; beyond, their number
WRONG = "✕"
_EFFECTS = {"adds": "add it", "keeps": "keep it", "mixes": f"mix {WRONG}"}


def shown(holding: Holding, chunk: Chunk) -> str:
    """Return the holding as short text for a cell: "0+1" reduced, "0, 1" separate."""
    if any(len(parts) > len(set(parts)) for parts in holding):
        return f"{WRONG} twice"
    if not holding or len(chunk.ranks) == 1:
        return f"r{chunk.ranks[0]}" if holding else ""
    if chunk.ranks in holding:
        return "✓ all"
    if len(chunk.ranks) > MOST_NAMED:
        return f"{len(holding[0])}/{len(chunk.ranks)}"
    return ", ".join("+".join(map(str, parts)) for parts in holding)


def said(holding: Holding, chunk: Chunk) -> str:
    """Return what a rank holds of a chunk, as a clause."""
    if not holding:
        return "nothing"
    if len(holding) > 1:
        return ", ".join("+".join(map(str, parts)) for parts in holding) + ", not added up"
    return _said(holding[0], chunk)


def _said(parts: Parts, chunk: Chunk) -> str:
    if len(chunk.ranks) == 1 and parts == chunk.ranks:
        return f"rank {parts[0]}'s"
    named = "+".join(map(str, parts))
    if len(parts) > len(set(parts)):
        often = sorted({rank for rank in parts if parts.count(rank) > 1})
        return f"{named}, {WRONG} {_ranks(often)} more than once"
    lacking = [rank for rank in chunk.ranks if rank not in parts]
    return f"{named}, without {_ranks(lacking)}" if lacking else f"{named}, complete"


def _inside(holding: Holding, chunk: Chunk) -> str:
    """Return the parts of a chunk in a message, without those missing: "0+1"."""  # fmt: skip
    return said(holding, chunk).partition(", without")[0]


def chunk_said(number: int, chunk: Chunk) -> str:
    """"chunk 2, elements 12 to 17 of every rank's part, 24 bytes"."""  # fmt: skip
    whose = f"rank {chunk.ranks[0]}'s part" if len(chunk.ranks) == 1 else "each part"
    last = f" to {chunk.stop - 1:,}" if chunk.stop - chunk.start > 1 else ""
    return f"chunk {number}, element{'s' if last else ''} {chunk.start:,}{last} of {whose}, {bytes_text(chunk.bytes)}"


def message_said(sent: Sent, steps: ChunkSteps) -> str:
    """Return one message: sender, receiver, chunks, bytes, tag, and the sender's source line."""
    carried = "; ".join(
        f"chunk {c} ({_inside(parts, steps.chunks[c])})" for c, parts in zip(sent.chunks, sent.parts, strict=True)
    )
    if sent.other:
        carried += ("; " if carried else "") + f"{sent.other:,} elements of no chunk"
    tag = f", tag {sent.tag}" if sent.tag else ""
    source = f", {sent.source}" if sent.source else ""
    return f"{sent.src} → {sent.dst}: {carried or 'no elements'}, {bytes_text(sent.bytes)}{tag}{source}"


def message_briefly(sent: Sent, steps: ChunkSteps) -> str:
    """"0→1 chunk 3 (then 0+1, without 2)"."""  # fmt: skip
    then = [f"chunk {c} (then {said(steps.holds[sent.step][sent.dst][c], steps.chunks[c])})" for c in sent.chunks]
    every = len(sent.chunks) == len(steps.chunks) > 1
    alike = len({steps.holds[sent.step][sent.dst][c] for c in sent.chunks}) == 1
    if every and alike:
        then = [f"all chunks (then {said(steps.holds[sent.step][sent.dst][0], steps.chunks[0])})"]
    return f"{sent.src}→{sent.dst} {', '.join(then) or 'nothing of a chunk'}"


def step_said(steps: ChunkSteps, number: int) -> str:
    """"4 messages, 96 bytes"; step 0 is before the first."""  # fmt: skip
    if not number:
        return "every rank holds its own part"
    sent = steps.sent[number - 1]
    return f"{len(sent)} message{'s' if len(sent) > 1 else ''}, {bytes_text(sum(m.bytes for m in sent))}"


def effect_said(steps: ChunkSteps, number: int) -> str:
    """Return what the receivers do with what arrives in that step."""
    effects = sorted({message.effect for message in steps.sent[number - 1]})
    return f"receivers {_EFFECTS[effects[0]]}" if len(effects) == 1 else "some receivers add, some keep"


def wrong_said(steps: ChunkSteps, number: int) -> list[str]:
    """Return the errors after `number` steps, a line per group of ranks; at the end also those of the results."""
    found: dict[str, list[int]] = {}
    for rank, count in enumerate(steps.mixed[number]):
        if count:
            found.setdefault(f"{count:,} elements in memory were made of unlike elements", []).append(rank)
    if number == len(steps.sent):
        for rank, result in enumerate(steps.results):
            if result is not None and result.wrong:
                found.setdefault(f"in the result {'; '.join(result.wrong)}", []).append(rank)
    return [f"{WRONG} {_ranks(ranks)}: {what}" for what, ranks in found.items()]


def results_said(steps: ChunkSteps) -> str:
    """Return a sentence if all recorded results are correct, otherwise ""."""
    known = [rank for rank, result in enumerate(steps.results) if result is not None]
    wrong = [rank for rank in known if steps.results[rank].wrong]
    if not known:
        return ""
    if wrong:
        return ""  # `wrong_said` reports it
    return (
        f"✓ the result of {_ranks(known) if len(known) < steps.world_size else 'every rank'} is complete and in order"
    )


def headline(steps: ChunkSteps) -> str:
    """Return the sizes of the collective, the same on every run."""
    messages, chunks = sum(map(len, steps.sent)), len(steps.chunks)
    return (
        f"{steps.world_size} ranks, {chunks} chunk{'s' if chunks > 1 else ''}, {len(steps.sent)} "
        f"step{'s' if len(steps.sent) > 1 else ''}, {messages} messages, "
        f"at most {bytes_text(max(steps.bytes_sent))} sent by a rank"
    )


def described(title: str, steps: ChunkSteps) -> str:
    """Return the whole picture as text, a line per step."""
    lines = [f"{title}: {headline(steps)}"]
    lines += [chunk_said(c, chunk) for c, chunk in enumerate(steps.chunks)]
    for number, sent in enumerate(steps.sent, start=1):
        brief = "; ".join(message_briefly(message, steps) for message in sent)
        lines += [
            f"step {number}, {step_said(steps, number)}, {effect_said(steps, number)}: {brief}",
            *wrong_said(steps, number),
        ]
    return "\n".join([*lines, *filter(None, [results_said(steps)])])


def _ranks(ranks: list[int]) -> str:
    return f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}"
