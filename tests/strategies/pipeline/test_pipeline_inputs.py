"""Preprocessing on ranks of its own: the same items in the same order, made ahead, no further than there is room."""

from __future__ import annotations

import pytest

from lab_utils.ranks import RankError, Ranks

ITEMS = 7


def made(n: int):
    """An item of uneven size, some of them larger than the first."""
    import torch

    return {"n": n, "x": torch.arange(40 * (1 + n % 3), dtype=torch.float64) * n}


def fed(workers, trainers, items=ITEMS, room: int = 2, stop_after: int = 99, preprocess=made):
    """What this trainer saw; of a worker, how many it made."""
    from lab_utils.comm import phase
    from lab_utils.strategies.pipeline import Feed

    feed = Feed(workers, trainers, room=room)
    if feed.is_worker:
        return feed.serve(range(items), preprocess)
    seen = []
    with feed.items() as coming:
        for item in coming:
            seen.append(item)
            if len(seen) == stop_after:
                break
            with phase("train"):
                sum(i * i for i in range(20_000))
    return seen


def alike_serial(trainers: int = 1, items: int = ITEMS, workers=(1,), **options):
    """On a trainer: whether what it saw is exactly what it would have made itself; else how many were made."""
    import torch
    import torch.distributed as dist

    got = fed(list(workers), list(range(trainers)), items, **options)
    if isinstance(got, int):
        return got
    wanted = [made(n) for n in range(dist.get_rank(), items, trainers)]
    return [a["n"] for a in got] == [b["n"] for b in wanted] and all(
        torch.equal(a["x"], b["x"]) for a, b in zip(got, wanted, strict=True)
    )


@pytest.mark.parametrize("room", [1, 3])
@pytest.mark.parametrize("items", [0, 1, ITEMS])
def test_a_trainer_sees_what_it_would_have_made(ranks2: Ranks, room: int, items: int) -> None:
    assert ranks2.run(alike_serial, items=items, room=room) == [True, items]


@pytest.mark.parametrize(("trainers", "workers"), [(1, (1, 2, 3)), (2, (2, 3)), (3, (3,))])
def test_several_of_each(ranks4: Ranks, trainers: int, workers: tuple[int, ...]) -> None:
    got = ranks4.run(alike_serial, trainers=trainers, workers=workers)
    assert got[:trainers] == [True] * trainers
    assert sum(got[trainers:]) == ITEMS


def test_a_trainer_may_stop_early_and_go_on_with_something_else(ranks2: Ranks) -> None:
    seen, number = ranks2.run(fed, [1], [0], 1000, stop_after=3)
    assert [item["n"] for item in seen] == [0, 1, 2]
    assert 3 <= number <= 3 + 2 + 1  # two in the queue, and one that found no room
    assert ranks2.run(alike_serial) == [True, ITEMS]


def ahead():
    """Item 2 is finished while the trainer is still at item 0: it waits for a message that item 2's making sends."""
    import torch
    import torch.distributed as dist

    from lab_utils.strategies.pipeline import Feed

    def tell(n: int) -> int:
        if n == 2:
            dist.send(torch.tensor(n), 0)
        return n

    feed = Feed([1], [0], room=2)
    if feed.is_worker:
        return feed.serve(range(4), tell)
    told = torch.zeros((), dtype=torch.int64)
    with feed.items() as items:
        for n in items:
            if n == 0:
                dist.recv(told, 1)
    return int(told)


def test_workers_run_ahead(ranks2: Ranks) -> None:
    assert ranks2.run(ahead) == [2, 4]


def test_and_no_further_than_there_is_room(ranks2: Ranks) -> None:
    trace = ranks2.record(fed, [1], [0], 12, room=2)
    trained, preprocessed = ([p for p in phases if p.name in ("train", "preprocess")] for phases in trace.phases)
    assert len(trained) == len(preprocessed) == 12
    for n in range(4, 12):  # item n - 4 taken, two waiting, n - 1 had to find room
        assert preprocessed[n].start_s > trained[n - 4].start_s


def fails_at_2(n: int) -> int:
    if n == 2:
        raise KeyError("no such file")
    return n


def test_an_error_names_the_item_and_frees_the_trainer(ranks2: Ranks) -> None:
    with pytest.raises(RankError, match="rank 1 raised PreprocessError: preprocessing item 2 failed: KeyError"):
        ranks2.run(fed, [1], [0], preprocess=fails_at_2)
    assert ranks2.run(alike_serial) == [True, ITEMS]


def test_roles_that_do_not_fit_are_refused(ranks2: Ranks) -> None:
    with pytest.raises(RankError, match=r"workers \[0, 1\], trainers \[0\]: a rank has one role"):
        ranks2.run(fed, [0, 1], [0])
