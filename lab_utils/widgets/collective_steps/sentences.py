"""Sentences about a collective's steps: in cells, in tooltips, for screen readers."""

from __future__ import annotations

from lab_utils.widgets.collective_steps import words
from lab_utils.widgets.collective_steps.steps import Chunk, ChunkSteps, Holding, Sent

MOST_NAMED = 4  # up to this many ranks a cell names its parts, "0+1+2"; beyond, their number


def shown(holding: Holding, chunk: Chunk) -> str:
    """Return the holding as short text for a cell: "0+1" reduced, "0, 1" separate."""
    if any(len(parts) > len(set(parts)) for parts in holding):
        return words.TWICE
    if not holding or len(chunk.ranks) == 1:
        return words.owner(chunk.ranks[0]) if holding else ""
    if chunk.ranks in holding:
        return words.ALL
    if len(chunk.ranks) > MOST_NAMED:
        return words.some_parts(len(holding[0]), len(chunk.ranks))
    return ", ".join(map(words.parts_together, holding))


def said(holding: Holding, chunk: Chunk, lacking: bool = True) -> str:
    """Return what a rank holds of a chunk, as a clause; without `lacking`, not whose parts are missing."""
    if not holding:
        return words.NOTHING
    if len(holding) > 1:
        return words.not_added_up(", ".join(map(words.parts_together, holding)))
    (parts,) = holding
    if len(chunk.ranks) == 1 and parts == chunk.ranks:
        return words.of_rank(parts[0])
    named = words.parts_together(parts)
    if often := sorted({rank for rank in parts if parts.count(rank) > 1}):
        return words.more_than_once(named, often)
    missing = [rank for rank in chunk.ranks if rank not in parts]
    if not missing:
        return words.complete(named)
    return words.without(named, missing) if lacking else named


def chunk_said(number: int, chunk: Chunk) -> str:
    """ "chunk 2, elements 12 to 17 of each part, 24 bytes"."""
    rank = chunk.ranks[0] if len(chunk.ranks) == 1 else None
    return words.chunk_is(number, chunk.start, chunk.stop - 1, rank, chunk.bytes)


def message_said(sent: Sent, steps: ChunkSteps) -> str:
    """Return one message: sender, receiver, chunks, bytes, tag, and the sender's source line."""
    carried = [
        words.chunk_carried(c, said(parts, steps.chunks[c], lacking=False))
        for c, parts in zip(sent.chunks, sent.parts, strict=True)
    ]
    if sent.other:
        carried.append(words.of_no_chunk(sent.other))
    return words.message(sent.src, sent.dst, "; ".join(carried), sent.bytes, sent.tag, sent.source)


def message_briefly(sent: Sent, steps: ChunkSteps) -> str:
    """ "0→1 chunk 3 (then 0+1, without 2)"."""
    held = steps.holds[sent.step][sent.dst]
    if len(sent.chunks) == len(steps.chunks) > 1 and len({held[c] for c in sent.chunks}) == 1:
        return words.brief_message(sent.src, sent.dst, words.all_chunks_then(said(held[0], steps.chunks[0])))
    then = [words.chunk_then(c, said(held[c], steps.chunks[c])) for c in sent.chunks]
    return words.brief_message(sent.src, sent.dst, ", ".join(then))


def step_said(steps: ChunkSteps, number: int) -> str:
    """ "4 messages, 96 bytes"; step 0 is before the first."""
    if not number:
        return words.OWN_PARTS
    sent = steps.sent[number - 1]
    return words.messages(len(sent), sum(message.bytes for message in sent))


def effect_said(steps: ChunkSteps, number: int) -> str:
    """Return what the receivers do with what arrives in that step, "" before the first."""
    effects = {message.effect for message in steps.sent[number - 1]} if number else ()
    return words.receivers(*effects) if len(effects) == 1 else words.SOME_ADD if number else ""


def wrong_said(steps: ChunkSteps, number: int) -> list[str]:
    """Return the errors after `number` steps, a line per group of ranks; at the end also those of the results."""
    found: dict[str, list[int]] = {}
    for rank, count in enumerate(steps.mixed[number]):
        if count:
            found.setdefault(words.mixed_in_memory(count), []).append(rank)
    if number == len(steps.sent):
        for rank, result in enumerate(steps.results):
            if result is not None and result.wrong:
                found.setdefault(words.in_the_result(result.wrong), []).append(rank)
    return [words.wrong_on(ranks, what) for what, ranks in found.items()]


def results_said(steps: ChunkSteps) -> str:
    """Return a sentence if all recorded results are correct, otherwise ""; `wrong_said` reports what is wrong."""
    known = [rank for rank, result in enumerate(steps.results) if result is not None]
    if not known or any(steps.results[rank].wrong for rank in known):
        return ""
    return words.result_is_complete(known if len(known) < steps.world_size else None)


def headline(steps: ChunkSteps) -> str:
    """Return the sizes of the collective, the same on every run."""
    messages = sum(map(len, steps.sent))
    return words.headline(steps.world_size, len(steps.chunks), len(steps.sent), messages, max(steps.bytes_sent))


def step_says(steps: ChunkSteps, number: int) -> list[str]:
    """Return what the widget says below the picture after `number` steps, besides the messages."""
    last = len(steps.sent)
    lines = [words.step_is(number, last, step_said(steps, number), effect_said(steps, number))]
    results = [results_said(steps)] if number == last else []
    return [*lines, *filter(None, results), *wrong_said(steps, number)]


def described(title: str, steps: ChunkSteps) -> str:
    """Return the whole picture as text, a line per step."""
    lines = [words.described(title, headline(steps)), *map(chunk_said, range(len(steps.chunks)), steps.chunks)]
    for number, sent in enumerate(steps.sent, start=1):
        brief = "; ".join(message_briefly(message, steps) for message in sent)
        line = words.step_line(number, step_said(steps, number), effect_said(steps, number), brief)
        lines += [line, *wrong_said(steps, number)]
    return "\n".join([*lines, *filter(None, [results_said(steps)])])
