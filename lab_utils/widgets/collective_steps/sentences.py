"""Sentences about a collective's rounds: in cells, in tooltips, for screen readers."""

from __future__ import annotations

from lab_utils.text import bytes_text, counted, numbered
from lab_utils.widgets.collective_steps import words
from lab_utils.widgets.collective_steps.replay import Parts
from lab_utils.widgets.collective_steps.rounds import Chunk, ChunkRounds, Holding, Sent

MOST_NAMED = 4  # up to this many ranks a cell names its parts, "0+1+2"; beyond, their number


def shown(holding: Holding, chunk: Chunk) -> str:
    """Return the holding as short text for a cell: "0+1" reduced, "0, 1" separate."""
    if any(len(parts) > len(set(parts)) for parts in holding):
        return words.TWICE
    if not holding or len(chunk.ranks) == 1:
        return words.OWNER.format(rank=chunk.ranks[0]) if holding else ""
    if chunk.ranks in holding:
        return words.ALL
    if len(chunk.ranks) > MOST_NAMED:
        return words.SOME_PARTS.format(held=len(holding[0]), ranks=len(chunk.ranks))
    return ", ".join(map(_together, holding))


def _together(parts: Parts) -> str:
    return "+".join(map(str, parts))


def said(holding: Holding, chunk: Chunk, lacking: bool = True) -> str:
    """Return what a rank holds of a chunk, as a clause; without `lacking`, not whose parts are missing."""
    if not holding:
        return words.NOTHING
    if len(holding) > 1:
        return words.NOT_ADDED_UP.format(parts=", ".join(map(_together, holding)))
    (parts,) = holding
    if len(chunk.ranks) == 1 and parts == chunk.ranks:
        return words.OF_RANK.format(rank=parts[0])
    named = _together(parts)
    if often := sorted({rank for rank in parts if parts.count(rank) > 1}):
        return words.MORE_THAN_ONCE.format(parts=named, ranks=numbered("rank", often))
    missing = [rank for rank in chunk.ranks if rank not in parts]
    if not missing:
        return words.COMPLETE.format(parts=named)
    return words.WITHOUT.format(parts=named, ranks=numbered("rank", missing)) if lacking else named


def chunk_said(number: int, chunk: Chunk) -> str:
    """ "chunk 2, elements 12 to 17 of each part, 24 bytes"."""
    first, last = chunk.start, chunk.stop - 1
    elements = (words.ELEMENTS if last > first else words.ELEMENT).format(first=first, last=last)
    whose = words.PART_OF_RANK.format(rank=chunk.ranks[0]) if len(chunk.ranks) == 1 else words.EACH_PART
    return words.CHUNK_IS.format(chunk=number, elements=elements, whose=whose, bytes=bytes_text(chunk.bytes))


def message_said(sent: Sent, rounds: ChunkRounds) -> str:
    """Return one message: sender, receiver, chunks, bytes, tag, and the sender's source line."""
    carried = [
        words.CARRIED.format(chunk=c, holding=said(parts, rounds.chunks[c], lacking=False))
        for c, parts in zip(sent.chunks, sent.parts, strict=True)
    ]
    carried += [words.OF_NO_CHUNK.format(count=sent.other)] if sent.other else []
    what = "; ".join(carried) or words.NO_ELEMENTS
    message = words.MESSAGE.format(src=sent.src, dst=sent.dst, carried=what, bytes=bytes_text(sent.bytes))
    tag = words.TAG.format(tag=sent.tag) if sent.tag else ""
    return f"{message}{tag}{f', {sent.source}' if sent.source else ''}"


def message_briefly(sent: Sent, rounds: ChunkRounds) -> str:
    """ "0→1 chunk 3 (then 0+1, without 2)"."""
    then = {c: said(rounds.holds[sent.round][sent.dst][c], rounds.chunks[c]) for c in sent.chunks}
    named = ", ".join(words.CHUNK_THEN.format(chunk=c, holding=holding) for c, holding in then.items())
    if len(then) == len(rounds.chunks) > 1 and len({rounds.holds[sent.round][sent.dst][c] for c in then}) == 1:
        named = words.ALL_CHUNKS_THEN.format(holding=then[0])
    return words.BRIEFLY.format(src=sent.src, dst=sent.dst, then=named or words.NOTHING_OF_A_CHUNK)


def round_said(rounds: ChunkRounds, number: int) -> str:
    """ "4 messages, 96 bytes"; round 0 is before the first."""
    if not number:
        return words.OWN_PARTS
    sent = rounds.sent[number - 1]
    size_bytes = sum(message.bytes for message in sent)
    return words.MESSAGES.format(messages=counted(len(sent), "message"), bytes=bytes_text(size_bytes))


def effect_said(rounds: ChunkRounds, number: int) -> str:
    """Return what the receivers do with what arrives in that round."""
    effects = {message.effect for message in rounds.sent[number - 1]}
    return words.RECEIVERS[effects.pop()] if len(effects) == 1 else words.SOME_ADD


def wrong_said(rounds: ChunkRounds, number: int) -> list[str]:
    """Return the errors after `number` rounds, a line per group of ranks; at the end also those of the results."""
    found: dict[str, list[int]] = {}
    for rank, count in enumerate(rounds.mixed[number]):
        if count:
            found.setdefault(words.UNLIKE_IN_MEMORY.format(count=count), []).append(rank)
    if number == len(rounds.sent):
        for rank, result in enumerate(rounds.results):
            if result is not None and result.wrong:
                found.setdefault(words.IN_THE_RESULT.format(wrong="; ".join(result.wrong)), []).append(rank)
    return [words.WRONG_ON.format(ranks=numbered("rank", ranks), what=what) for what, ranks in found.items()]


def results_said(rounds: ChunkRounds) -> list[str]:
    """Return a sentence if all recorded results are correct; `wrong_said` reports what is wrong."""
    known = [rank for rank, result in enumerate(rounds.results) if result is not None]
    if not known or any(rounds.results[rank].wrong for rank in known):
        return []
    return [words.RESULT.format(ranks=numbered("rank", known) if len(known) < rounds.world_size else words.EVERY_RANK)]


def headline(rounds: ChunkRounds) -> str:
    """Return the sizes of the collective, the same on every run."""
    return words.HEADLINE.format(
        ranks=counted(rounds.world_size, "rank"),
        chunks=counted(len(rounds.chunks), "chunk"),
        rounds=counted(len(rounds.sent), "round"),
        messages=counted(sum(map(len, rounds.sent)), "message"),
        bytes=bytes_text(max(rounds.bytes_sent)),
    )


def round_says(rounds: ChunkRounds, number: int) -> list[str]:
    """Return what the widget says below the picture after `number` rounds, besides the messages."""
    last, sent = len(rounds.sent), round_said(rounds, number)
    line = words.BEFORE_THE_FIRST.format(last=last, sent=sent)
    if number:
        line = words.ROUND_SAYS.format(round=number, last=last, sent=sent, effect=effect_said(rounds, number))
    return [line, *(results_said(rounds) if number == last else ()), *wrong_said(rounds, number)]


def described(title: str, rounds: ChunkRounds) -> str:
    """Return the whole picture as text, a line per round."""
    lines = [f"{title}: {headline(rounds)}", *map(chunk_said, range(len(rounds.chunks)), rounds.chunks)]
    for number, messages in enumerate(rounds.sent, start=1):
        brief = "; ".join(message_briefly(message, rounds) for message in messages)
        sent, effect = round_said(rounds, number), effect_said(rounds, number)
        lines += [words.ROUND_LINE.format(round=number, sent=sent, effect=effect, brief=brief)]
        lines += wrong_said(rounds, number)
    return "\n".join([*lines, *results_said(rounds)])
