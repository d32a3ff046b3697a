"""Devices and links refuse what cannot be, and the catalogue comes near to what was published."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_utils.exercises import EXERCISES
from lab_utils.schedule import schedules
from lab_utils.text import UnknownName
from lab_utils.timeline import Trace
from lab_utils.timeline.hardware import Device, Hardware, Link, Wire, catalogue, wire_rows
from lab_utils.timeline.hardware.calibrate.this_machine import errors, fitted

# All-reduces of A100s, NVLink 3, NCCL: microseconds for 1, 2, 4, ... 1024 MiB, by how many. MIT licence, from
# https://github.com/VIA-Research/vTrain at f8dda8473a, trace/a100/AR_GPU<n>_1M_1024M_LUT (there in nanoseconds).
VTRAIN_US = {
    2: (44.21, 53.43, 61.18, 86.9, 131.9, 230, 404.7, 763.6, 1455.8, 2838.4, 5442.8),
    3: (63.91, 70.8, 79.23, 103.6, 155, 266.5, 500.3, 928.9, 1786, 3466.8, 6757.1),
    4: (51.4, 55.74, 77.32, 116.8, 179.6, 284.2, 543.8, 998.6, 1929, 3720, 7259.4),
    5: (62.77, 61.18, 78.62, 123.8, 198.8, 322.2, 568.3, 1066.7, 2037, 3935.8, 7653.2),
    6: (73, 74.61, 82.55, 126.7, 203.2, 304, 565.7, 1120.8, 2115.9, 4020.6, 7883.3),
    7: (77.96, 78.25, 84.18, 134.4, 227.6, 332.8, 599.9, 1147.4, 2190.9, 4106, 8112.8),
    8: (92.79, 93.25, 95.8, 134.3, 232.4, 358.1, 579.9, 1162, 2162.3, 4191.5, 8193),
}  # fmt: skip
FITTED, JUDGED = (2, 4, 8), (3, 5, 6, 7)

# Ranks, GiB, and the bus bandwidth in GB/s of their all-reduce, as a ring or as NCCL chose:
# https://github.com/stas00/ml-engineering at 744d01e18b, network/README.md and network/benchmarks/README.md.
PUBLISHED = {
    "A100 node": (8, 16, 234.89),
    "B200 cluster": (32, 16, 381.8),
    "H200 cluster": (32, 4, 364.65),
}
GOOD = {"flops_per_s": 1e12, "memory_bytes_per_s": 1e11}


def all_reduces(gpus: tuple[int, ...]) -> tuple[list[Wire], np.ndarray]:
    """The published all-reduces of so many, and their seconds."""
    wires = [Wire("all_reduce", 2**20 << power, tuple(range(n))) for n in gpus for power in range(11)]
    return wires, np.concatenate([VTRAIN_US[n] for n in gpus]) * 1e-6


def as_rings(wires: list[Wire]) -> np.ndarray:
    """float64[w, 2]: rounds and bytes."""
    return wire_rows(wires, None)[:, 0, :2]


def bandwidth(hardware: Hardware, n: int, size_bytes: int) -> float:
    """Bus bandwidth of an all-reduce in GB/s."""
    wire = Wire("all_reduce", size_bytes, tuple(range(n)))
    took_s = hardware.wire_s(wire_rows([wire], hardware.ranks_per_node))[0]
    return 2 * (n - 1) / n * size_bytes / took_s / 1e9


# ---------------------------------------------------------------------- the catalogue
def test_nvlink_3_is_what_the_fit_gives(capsys: pytest.CaptureFixture) -> None:
    """Fitted on 2, 4 and 8 GPUs, judged on 3, 5, 6 and 7, which it never saw."""
    wires, seconds = all_reduces(FITTED)
    latency_s, per_byte_s = fitted(as_rings(wires), seconds)
    assert f"{latency_s:.3g}" == f"{catalogue['NVLink 3'].latency_s:.3g}"
    assert 1 / per_byte_s == pytest.approx(catalogue["NVLink 3"].bytes_per_s, rel=1e-3)
    wires, seconds = all_reduces(JUDGED)
    off = errors(as_rings(wires), seconds, np.array([latency_s, per_byte_s]))
    by_size = " ".join(f"{each:.0%}" for each in np.median(off.reshape(len(JUDGED), -1), axis=0))
    with capsys.disabled():
        print(f"\nNVLink 3: {np.median(off):.1%} off at the median, {off.max():.0%} at most; 1 MiB to 1 GiB {by_size}")
    assert np.median(off) < 0.1
    assert off.max() < 0.62


def test_the_catalogue_predicts_as_its_link_was_fitted() -> None:
    wires, seconds = all_reduces(JUDGED)
    predicted_s = catalogue["A100 node"].wire_s(wire_rows(wires, None))
    assert np.median(np.abs(predicted_s / seconds - 1)) < 0.1


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_bandwidth(name: str, capsys: pytest.CaptureFixture) -> None:
    """On numbers that nothing was fitted on. Between nodes, a ring per NIC of nominal bandwidth comes within 6 %."""
    n, gib, published = PUBLISHED[name]
    hardware = catalogue[name]
    ours = bandwidth(hardware, n, gib * 2**30)
    with capsys.disabled():
        print(f"\n{name}: {ours:.0f} GB/s, published {published:.0f}")
    assert 0.85 < ours / published < (1.06 if hardware.across else 1.005)
    if hardware.across:  # what rules out one ring, and two levels one after the other
        for algorithm in ("ring", "two_level"):
            assert bandwidth(replace(hardware, algorithm=algorithm), n, gib * 2**30) < 0.9 * published


def test_every_number_of_the_catalogue_has_a_source() -> None:
    for kind, least in ((Device, 4), (Link, 8), (Hardware, 8)):
        assert len(catalogue.of(kind)) >= least
    assert len(catalogue) == sum(len(catalogue.of(kind)) for kind in (Device, Link, Hardware))
    for name, entry in {**catalogue.of(Device), **catalogue.of(Link)}.items():
        assert entry.name == name
        assert "github.com/" in entry.source, name


def test_ready_hardware_is_made_of_what_the_catalogue_has() -> None:
    for hardware in catalogue.of(Hardware).values():
        parts = [hardware.device, hardware.link, *([hardware.across] if hardware.across else [])]
        assert all(catalogue[part.name] is part for part in parts)


def test_newer_devices_are_faster() -> None:
    names = ("A100-SXM-80GB", "H100-SXM-80GB", "H200-SXM", "B200-SXM")
    for older, newer in zip(names, names[1:], strict=False):
        assert catalogue[older].flops_per_s <= catalogue[newer].flops_per_s
        assert catalogue[older].memory_bytes_per_s < catalogue[newer].memory_bytes_per_s


def test_the_catalogue_as_a_table() -> None:
    lines = repr(catalogue).splitlines()
    assert len(lines) == len(catalogue)
    assert lines[0].split(maxsplit=1) == ["A100-SXM-80GB", "271 TFLOP/s, 2.00 TB/s, 80.0 GB"]
    assert "NVLink 3                       6.38 µs, 201 GB/s" in lines
    assert repr(catalogue).count("H100-SXM-80GB, NVLink 4, InfiniBand NDR between nodes of 8") == 1


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(KeyError) as raised:
        catalogue["H300"]
    assert str(raised.value).startswith("nothing in the catalogue is named 'H300': there are A100-SXM-80GB, ")
    assert str(raised.value).endswith(", ".join(catalogue))
    assert catalogue.get("H300") is None
    assert "H300" not in catalogue


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("H100", "'H100-SXM-80GB' or 'H100 node' or 'H100 cluster'"),
        ("InfinBand HDR", "'InfiniBand HDR' or 'InfiniBand NDR'"),
    ],
)
def test_an_unknown_name_that_is_much_like_others_says_which(name: str, meant: str) -> None:
    with pytest.raises(UnknownName) as raised:
        catalogue[name]
    assert str(raised.value) == f"nothing in the catalogue is named {name!r}: did you mean {meant}?"


def test_unknown_schedules_and_exercises_are_named_alike() -> None:
    with pytest.raises(UnknownName, match=r"^no schedule is named 'zb': did you mean 'zb_h1' or 'zb_h2' or 'zb_v'\?$"):
        schedules.BY_NAME["zb"]
    with pytest.raises(UnknownName, match=r"^no exercise is named '00\.99': "):
        EXERCISES["00.99"]


def test_hardware_is_made_of_devices_and_links_and_not_of_their_names() -> None:
    link = catalogue["NVLink 4"]
    with pytest.raises(TypeError, match="^device='H100-SXM-80GB': a Device is needed, such as one of the catalogue's$"):
        Hardware("H100-SXM-80GB", link)
    with pytest.raises(TypeError, match="^link=None: a Link is needed"):
        Hardware(None, None)
    with pytest.raises(TypeError) as raised:
        Trace.from_ranks([[]], [[]], []).timeline("H100 node")
    assert str(raised.value) == ("a timeline is predicted on Hardware, catalogue['H100 node'], and was given a str")


# ---------------------------------------------------------------------- fitting
@given(
    st.lists(st.floats(1e-9, 1e3), min_size=2, max_size=2),
    st.lists(st.tuples(st.floats(1, 100), st.floats(1, 1e9)), min_size=3, max_size=20, unique=True),
)
def test_a_fit_finds_what_times_were_made_from(made_from: list[float], amounts: list[tuple]) -> None:
    amounts = np.array(amounts)
    seconds = amounts @ made_from
    assert errors(amounts, seconds, fitted(amounts, seconds)).max() < 1e-3


def test_nothing_fitted_is_below_zero() -> None:
    """Times that grow faster than their bytes would give a latency below 0."""
    amounts = np.array([[2.0, 1e3], [2.0, 1e6], [2.0, 2e6]])
    assert fitted(amounts, np.array([1e-6, 4e-3, 9e-3]))[0] == 0.0


@pytest.mark.parametrize("seconds", [[1.0], [1.0, 0.0], [1.0, -1.0], [1.0, math.nan]])
def test_times_that_tell_nothing_are_refused(seconds: list[float]) -> None:
    with pytest.raises(ValueError, match=f"2 numbers are to be fitted on {len(seconds)} times"):
        fitted(np.ones((len(seconds), 2)), np.array(seconds))


# ---------------------------------------------------------------------- made by hand
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Device("d", 0, 1), "flops_per_s=0: more than 0"),
        (lambda: Device("d", 1, math.inf), "memory_bytes_per_s=inf: more than 0"),
        (lambda: Device("d", 1, 1, launch_s=-1), "launch_s=-1: 0 or more"),
        (lambda: Link("l", math.nan, 1), "latency_s=nan: 0 or more"),
        (lambda: Link("l", 0, 0), "bytes_per_s=0: more than 0"),
        (lambda: Hardware(None, Link("l", 0, 1), 8), "ranks_per_node=8, across=None: nodes have"),
        (lambda: Hardware(None, Link("l", 0, 1), 0, Link("m", 0, 1)), "ranks_per_node=0"),
        (lambda: Hardware(None, Link("l", 0, 1), algorithm="star"), "algorithm='star': known are best, ring, tree"),
        (lambda: Hardware(None, Link("l", 0, 1), compute_scale=0), "compute_scale=0: more than 0"),
        (lambda: Hardware(None, Link("l", 0, 1)).with_device(launch_s=1), "l, computing as measured: no device"),
    ],
)
def test_what_cannot_be_is_refused(make, says: str) -> None:
    with pytest.raises(ValueError) as raised:
        make()
    assert says in str(raised.value)


def test_the_roofline() -> None:
    """Columns: FLOPs, bytes of kernels with FLOPs, other bytes, kernels, measured seconds."""
    hardware = Hardware(Device("d", 100.0, 10.0, launch_s=0.5), Link("l", 0, 1), compute_scale=2.0)
    rows = np.array([[1000, 20, 0, 1, 9], [100, 20, 0, 1, 9], [0, 0, 30, 2, 9], [0, 0, 0, 0, 0]], float)
    assert hardware.compute_s(rows).tolist() == [2 * 10.5, 2 * 2.5, 2 * 4.0, 0.0]
    assert Hardware(None, hardware.link, compute_scale=2.0).compute_s(rows).tolist() == [18, 18, 18, 0]
