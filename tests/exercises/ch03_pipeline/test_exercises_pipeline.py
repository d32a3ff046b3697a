"""Exercises 03.1 to 03.8 and 03.13: what their numbers rest on, orders as text, and an order for any sizes."""

from __future__ import annotations

import subprocess
import sys

import exercise_cells_pipeline as cells
import pytest
from pipeline_programs import pipelined

from lab_utils.exercises import check, solution
from lab_utils.exercises.ch03_pipeline.judge_orders import CIRCLE, PAR, UNEVEN, UNEVEN_LIMIT, moved, par
from lab_utils.exercises.ch03_pipeline.numbers import (
    EVEN,
    FLOAT32_BYTES,
    MAKESPAN_MS,
    SPAN_MS,
    boundary_bytes,
    least_microbatches,
    lengths_ms,
)
from lab_utils.schedule import schedules, search, simulate

ONE_F_ONE_B = """
F0 F1 F2 BW0 F3 BW1 BW2 BW3
F0 F1 BW0 F2 BW1 F3 BW2 BW3
F0 BW0 F1 BW1 F2 BW2 F3 BW3
"""
UNEVEN_START = ONE_F_ONE_B.replace("BW0", "B0 W0").replace("BW1", "B1 W1").replace("BW2", "B2 W2").replace(
    "BW3", "B3 W3"
)  # fmt: skip


# ---------------------------------------------------------------------- numbers
def test_enough_microbatches_are_the_fewest_that_are_enough() -> None:
    for virtual_stages, right in ((1, 64), (4, 16)):
        assert least_microbatches(8, virtual_stages, 10) == right
        bubbles = [7 / (virtual_stages * m + 7) for m in (right - 1, right)]
        assert bubbles[0] >= 0.1 > bubbles[1]
    assert simulate(schedules.one_f_one_b(8, 64), EVEN).bubble_fraction < 0.1
    assert simulate(schedules.interleaved(8, 16, virtual_stages=4), EVEN.divided(4)).bubble_fraction < 0.1


def test_lengths_of_the_two_bubbles() -> None:
    assert lengths_ms() == (MAKESPAN_MS, pytest.approx(SPAN_MS, rel=1e-12), 8 * (4 + 5 + 3))
    assert "that is the bubble rate" in check("03.5", 3 / 35, 0.0857).sentence
    assert check("03.5", 0.11, 0.09).right and check("03.5", 0.117, 0.086).state == "wrong"


def test_bytes_between_stages_are_those_of_a_run(ranks4) -> None:
    """A GPT in float64, 10 blocks of 8 tokens, 16 channels. Rank 0 and 3 share the tied weight: no neighbours."""
    trace = ranks4.record(pipelined, schedules.one_f_one_b(4, 5), count=False)
    sent = [op.bytes for ops in trace.ops for op in ops if op.kind == "send" and abs(op.rank - op.peer) == 1]
    loss = 8  # from rank 3 to rank 2
    assert boundary_bytes(4, 5, 2, 8, 16) // FLOAT32_BYTES * 8 == sum(sent) - loss


# ---------------------------------------------------------------------- orders
@pytest.mark.parametrize(("name", "ranks"), [("03.6", 3), ("03.7", 3), ("03.8", 3)])
def test_orders_that_are_not_written_yet(name: str, ranks: int) -> None:
    for answers in (("...\n" * ranks,), ("F0 ...\n…\n...",), (["F0", "...", "..."],), ("F0", "F0", "...")):
        assert check(name, *answers) == check(name, ...)


@pytest.mark.parametrize(
    ("name", "orders"),
    [
        ("03.6", ONE_F_ONE_B),
        ("03.6", ONE_F_ONE_B.split("\n")[1:4]),
        ("03.6", UNEVEN_START),
        ("03.7", "\n".join(CIRCLE).replace("3F1 0F2", "0F2 3F1")),
        ("03.7", "\n".join(CIRCLE).replace("1F2 4F0", "4F0 1F2")),
        ("03.7", "\n".join(CIRCLE).replace("5F0 2F1", "2F1 5F0")),
        ("03.8", search(3, 4, UNEVEN, UNEVEN_LIMIT).schedule.orders),
        ("03.8", UNEVEN_START.replace("F0 F1 B0 W0 F2", "F0 F1 F2 B0 W0")),
    ],
)
def test_right_orders(name: str, orders: str | list[str]) -> None:
    card = check(name, orders)
    assert card.right, card
    assert card == solution(name)


@pytest.mark.parametrize(
    ("name", "orders", "said"),
    [
        ("03.6", "F0 BW0", "1 order was given, and there are 3 ranks: one line for each"),
        ("03.6", (1, 2, 3), "give the orders as text, one line for each rank, such as 'F0 BW0 F1 BW1'"),
        ("03.6", 7, "give the orders as text"),
        ("03.6", ONE_F_ONE_B.replace("BW3", "X3"), "rank 0, op 8: 'X3' is no op: write F0, B0, W0 or BW0"),
        ("03.6", ONE_F_ONE_B.replace("3", "4"), "there is no micro-batch 4: they are counted from 0, so the last one"),
        ("03.6", "\n".join(schedules.gpipe(3, 4).orders), "rank 0 holds the activations of 4 micro-batches at F3"),
        ("03.6", "F0 BW0 F1 BW1 F2 BW2 F3 BW3\n" * 3, "it runs to its end within the memory, and its last op ends 18 "),
        ("03.6", ONE_F_ONE_B.replace("F3 BW1 BW2", "BW1 F3 BW2"), "it runs to its end within the memory, and its"),
        ("03.6", ONE_F_ONE_B.replace("BW", "B"), "stage 0 does not run W or BW of micro-batch 0"),
        ("03.6", ONE_F_ONE_B.replace("F0 BW0 F1", "BW0 F0 F1"), "rank 2 runs B"),
        ("03.7", CIRCLE, "ranks wait for each other in a circle: rank 0 stands at F1 of stage 3"),
        ("03.7", schedules.interleaved(3, 3).orders, "it runs to its end, and 4 ops are moved: one is"),
        ("03.7", "\n".join(CIRCLE).replace("5F0 2F1", "2F1"), "stage 5 does not run F of micro-batch 0"),
        ("03.8", UNEVEN_START, "it runs to its end within the memory and takes 49: as long as the best of"),
        ("03.8", schedules.zb_h2(3, 4).orders, "rank 0 holds the activations of 4 micro-batches at F3 of stage 0"),
        ("03.8", "F0 B0 W0 F1 B1 W1 F2 B2 W2 F3 B3 W3\n" * 3, "it runs to its end within the memory and takes 77: 28 "),
    ],
)  # fmt: skip
def test_wrong_orders(name: str, orders: object, said: str) -> None:
    card = check(name, orders)
    assert card.state == "wrong" and card.sentence.startswith(said), card


def test_the_longest_pause_is_that_of_a_busy_rank() -> None:
    """By hand: rank 1 has 44 of work, its F1 ends at 10, and rank 2 takes 7 from 6 on for the first gradient."""
    (line,) = check("03.8", UNEVEN_START).lines
    assert line == (
        "the longest pause of a rank with most to do: rank 1 waits from 10 to 13 with B0 of stage 1, until B0 of "
        "stage 2 has been run on rank 2"
    )
    assert par() == PAR


def test_how_many_ops_were_moved() -> None:
    assert moved("a b c d".split(), "a b c d".split()) == 0
    assert moved("b c d a".split(), "a b c d".split()) == 1 == moved("a d b c".split(), "a b c d".split())
    assert moved("d c b a".split(), "a b c d".split()) == 3


# ---------------------------------------------------------------------- 03.13
def my_order(version: str):
    names: dict = {}
    exec(cells.MY_ORDER[version], names)
    return names["my_order"]


@pytest.mark.parametrize("version", ["mended", "a_list", "split"])
def test_right_orders_for_any_sizes(version: str) -> None:
    assert check("03.13", my_order(version)) == solution("03.13")


@pytest.mark.parametrize("version", ["stub", "dots"])
def test_orders_for_any_sizes_that_are_not_written_yet(version: str) -> None:
    assert check("03.13", my_order(version)) == check("03.13", ...)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("few", "for 4 ranks and 2 micro-batches: there is no micro-batch 2: they are counted from 0"),
        ("one_more", "for 2 ranks and 4 micro-batches: rank 0 holds the activations of 3 micro-batches at F2"),
        ("no_warm_up", "for 2 ranks and 4 micro-batches: it ends 9 later than 1F1B (F 1, BW 2)"),
        ("gpipe", "for 2 ranks and 4 micro-batches: rank 0 holds the activations of 3 micro-batches at F2"),
        ("wrong_way", "for 2 ranks and 4 micro-batches: ranks wait for each other in a circle: rank 0 stands at BW0"),
        ("from_one", "for 2 ranks and 4 micro-batches: there is no micro-batch 4: they are counted from 0"),
        ("no_end", "for 2 ranks and 4 micro-batches: stage 0 does not run B or BW of micro-batch 3"),
        ("halves", "for 2 ranks and 4 micro-batches: stage 0 does not run W or BW of micro-batch 0"),
        ("numbers", "for 2 ranks and 4 micro-batches: 1 is no op: write 'F0' or 'BW0'"),
        ("nothing", "NoneType came back for rank 0: return its ops, such as 'F0 BW0' or ['F0', 'BW0']"),
        ("raises", "for 2 ranks and 4 micro-batches my_order raised NameError: name 'undefined' is not defined"),
        ("words", "for 2 ranks and 4 micro-batches: rank 0, op 3: 'back0' is no op: write F0, B0, W0 or BW0"),
    ],
)
def test_wrong_orders_for_any_sizes(version: str, said: str) -> None:
    card = check("03.13", my_order(version))
    assert card.state == "wrong" and card.sentence.startswith(said), card


def test_what_is_no_function() -> None:
    assert check("03.13", "my_order").sentence.startswith("give the function itself: check('03.13', my_order), and not")


def test_the_simulator_is_not_loaded_before_it_is_needed() -> None:
    code = "import sys, lab_utils.exercises; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
