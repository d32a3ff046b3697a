"""The numbers of chapters 01e and 01f: bytes and seconds of fewer rounds, compression, several hops and a server."""

from __future__ import annotations

from dataclasses import replace

from lab_utils.comm.algorithms import formulas
from lab_utils.exercises.ch00_ranks.numbers import leaving_node
from lab_utils.exercises.ch01_data.numbers import FLOAT64_BYTES, RANKS, WITHIN
from lab_utils.exercises.framework.judge_numbers import Numbers, Quantity
from lab_utils.timeline.hardware import Link, Wire, catalogue, wire_rows

STEPS, EVERY = 96, 16  # of 01.q
PART, INDEX_BYTES, BFLOAT16_BYTES = 0.02, 4, 2  # of 01.r
PER_NODE = 2  # of 01.s
CLUSTER, CLUSTER_RANKS, GPT2_BYTES = catalogue["A100 cluster"], 16, 496_000_000  # of 01.t
CLUSTER_SIZES = {
    "mb": GPT2_BYTES // 10**6, "ranks": CLUSTER_RANKS, "m": CLUSTER.ranks_per_node,
    "inside": round(CLUSTER.link.bytes_per_s / 1e9, -1), "across": CLUSTER.across.bytes_per_s / 1e9,
}  # fmt: skip
OFTEN = 8  # local steps in 01f
SLOW = Link("Ethernet 1 Gb/s", 50e-6, 125e6)  # of 01f
SLOW_SIZES = {
    "gb": 8 * SLOW.bytes_per_s / 1e9, "mb": SLOW.bytes_per_s / 1e6, "us": SLOW.latency_s * 1e6,
    "n": RANKS, "workers": RANKS - 1,
}  # fmt: skip


def all_reduce_bytes(parameters: int) -> int:
    return formulas.ring("all_reduce", RANKS, 0, parameters, FLOAT64_BYTES).bytes


def local_bytes(parameters: int) -> Numbers:
    """01.q: bytes per rank of local SGD."""
    each, whole, rounds = all_reduce_bytes(parameters), parameters * FLOAT64_BYTES, STEPS // EVERY
    right = rounds * each
    asked = Quantity(
        right, WITHIN, each_step=STEPS * each, one_round=each, steps_saved=(STEPS - rounds) * each,
        once=rounds * whole, elements=right / FLOAT64_BYTES, all_ranks=RANKS * right,
    )  # fmt: skip
    return [asked], {"rounds": rounds, "round": each, "bytes": right}


def shrinks() -> Numbers:
    """01.r: how many times fewer bytes than a ring all-reduce in float64."""
    half = FLOAT64_BYTES / BFLOAT16_BYTES
    sent = (RANKS - 1) * PART * (FLOAT64_BYTES + INDEX_BYTES)  # per parameter
    ring = 2 * (RANKS - 1) / RANKS * FLOAT64_BYTES
    right = ring / sent
    asked = [
        Quantity(half, 0.01, of_float32=half / 2, bits=16, inverse=1 / half),
        Quantity(
            right, 0.03, part=1 / PART, no_gather=1 / PART / (1 + INDEX_BYTES / FLOAT64_BYTES),
            no_indices=right * (1 + INDEX_BYTES / FLOAT64_BYTES), inverse=1 / right,
        ),
    ]  # fmt: skip
    return asked, {"half": half, "ring": ring, "sent": sent, "top": right}


def crossing_bytes(parameters: int) -> Numbers:
    """01.s: bytes between two nodes of two ranks, both directions together."""
    whole, nodes = parameters * FLOAT64_BYTES, RANKS // PER_NODE
    ring, two = (nodes * each for each in leaving_node(RANKS, PER_NODE, whole))
    everything = RANKS * all_reduce_bytes(parameters)
    asked = [
        Quantity(ring, WITHIN, one_node=ring / 2, everything=everything, once=whole),
        Quantity(two, WITHIN, one_node=two / 2, everything=everything, whole_crosses=2 * two, of_ring=ring),
    ]
    return asked, {"ring": ring, "two": two}


def cluster_ms() -> Numbers:
    """01.t: GPT-2's gradients on two nodes, by one ring, a ring per NIC, and two levels; latency is left out."""
    hardware = CLUSTER.with_link(latency_s=0.0)
    hardware = replace(hardware, across=replace(hardware.across, latency_s=0.0))
    rows = wire_rows([Wire("all_reduce", GPT2_BYTES, tuple(range(CLUSTER_RANKS)))], hardware.ranks_per_node)
    kinds = ("ring", "rings", "two_level")
    one, rings, two = (float(replace(hardware, algorithm=kind).wire_s(rows)[0]) * 1e3 for kind in kinds)
    m, nodes = hardware.ranks_per_node, CLUSTER_RANKS // hardware.ranks_per_node
    nic_ms, inside_ms = (GPT2_BYTES / link.bytes_per_s * 1e3 for link in (hardware.across, hardware.link))
    asked = [
        Quantity(one, 0.1, half=one / 2, all_nics=rings, in_seconds=one / 1e3),
        Quantity(rings, 0.1, half=rings / 2, one_nic=one, in_seconds=rings / 1e3),
        Quantity(
            two, 0.1, inside_only=2 * (m - 1) / m * inside_ms, across_only=2 * (nodes - 1) / nodes * nic_ms / m,
            whole_crosses=2 * (m - 1) / m * inside_ms + 2 * (nodes - 1) / nodes * nic_ms, in_seconds=two / 1e3,
        ),
    ]  # fmt: skip
    counts = {"others": CLUSTER_RANKS - 1, "inner": m - 1, "outer": nodes - 1, "nodes": nodes}
    return asked, {"one": one, "rings": rings, "two": two, "piece": GPT2_BYTES / m / 1e6, **counts}


def sent_most(parameters: int) -> Numbers:
    """01.u: bytes per step of the rank that sends most."""
    whole, ring, workers = parameters * FLOAT64_BYTES, all_reduce_bytes(parameters), RANKS - 1
    asked = [
        Quantity(ring, WITHIN, half=ring / 2, once=whole, all_ranks=RANKS * ring, elements=ring / FLOAT64_BYTES),
        Quantity(workers * whole, WITHIN, one_worker=whole, in_and_out=2 * workers * whole, with_server=RANKS * whole),
        Quantity(ring / OFTEN, WITHIN, each_step=ring, once_by_eight=whole / OFTEN, all_ranks=RANKS * ring / OFTEN),
    ]
    return asked, {"ring": ring, "server": workers * whole, "local": ring / OFTEN, "workers": workers}


def wire_ms(parameters: int) -> Numbers:
    """01.v: per step, how long a ring all-reduce and a server's messages take on the slow link."""
    whole = parameters * FLOAT64_BYTES
    rounds = messages = 2 * (RANKS - 1)  # of the ring; of the server, two per worker
    message, ring = SLOW.time_s(1, whole) * 1e3, SLOW.time_s(rounds, all_reduce_bytes(parameters)) * 1e3
    server = messages * message
    asked = [
        Quantity(ring, 0.05, half=ring / 2, of_server=server, one_message=message, in_seconds=ring / 1e3),
        Quantity(server, 0.05, half=server / 2, worker=2 * message, of_ring=ring, in_seconds=server / 1e3),
    ]
    counts = {"rounds": rounds, "part": rounds / RANKS, "messages": messages}
    return asked, {"ring": ring, "server": server, "message": message, **counts}


def half_step_ms(step_ms: float, exposed: float) -> Numbers:
    """01.w: a step whose exposed communication shrinks with the bytes on the wire."""
    part = BFLOAT16_BYTES / FLOAT64_BYTES
    compute, wire = (1 - exposed) * step_ms, exposed * step_ms
    asked = Quantity(
        compute + part * wire, 0.06, everything=part * step_ms, half=compute + wire / 2, no_wire=compute,
        unchanged=step_ms, compute_shrinks=part * compute + wire, in_seconds=(compute + part * wire) / 1e3,
    )  # fmt: skip
    return [asked], {"compute": compute, "wire": wire, "right": compute + part * wire}
