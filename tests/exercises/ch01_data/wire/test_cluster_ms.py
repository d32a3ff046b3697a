"""Prediction 01.t: judged by bytes, and the latency that it leaves out is as little as chapter 01e says."""

from __future__ import annotations

from dataclasses import replace

from lab_utils.exercises import check
from lab_utils.exercises.ch01_data.wire.numbers import CLUSTER, CLUSTER_RANKS, GPT2_BYTES, cluster_ms
from lab_utils.timeline.hardware import Wire, wire_rows


def with_latency_ms(algorithm: str) -> float:
    hardware = replace(CLUSTER, algorithm=algorithm)
    wire = Wire("all_reduce", GPT2_BYTES, tuple(range(CLUSTER_RANKS)))
    return float(hardware.wire_s(wire_rows([wire], hardware.ranks_per_node))[0]) * 1e3


def test_latency_adds_0_1_to_0_4_ms() -> None:
    whole_ms = [with_latency_ms(algorithm) for algorithm in ("ring", "rings", "two_level")]
    added = [whole - asked.right for whole, asked in zip(whole_ms, cluster_ms()[0], strict=True)]
    assert [f"{each:.1f}" for each in added] == ["0.4", "0.4", "0.1"]


def test_who_leaves_latency_out_is_right_and_reads_those_numbers() -> None:
    card = check("01.t", 2 * 15 / 16 * 496 / 25, 2 * 15 / 16 * 496 / 200, 2 * 7 / 8 * 496 / 200 + 62 / 25)
    assert card.right and "one ring 37.2 ms, 8 rings 4.65 ms, two levels 6.80 ms\n" in repr(card)
