"""What a prediction is called: by the catalogue's name, by its parts, and by what was changed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from timeline_samples import ddp

from lab_utils.schedule import Costs, schedules
from lab_utils.schedule import simulate as simulate_schedule
from lab_utils.timeline.hardware import Device, Hardware, Link, catalogue
from lab_utils.timeline.hardware.naming import hardware_name
from lab_utils.timeline.simulator.simulate import simulate

CLUSTER, NODE = catalogue["H100 cluster"], catalogue["A100 node"]
WIRE = Link("wire", 50e-6, 5e9)
MADE = Hardware(Device("mine", 1e13, 1e12), WIRE)


@pytest.mark.parametrize(
    ("hardware", "name"),
    [
        (CLUSTER, "H100 cluster"),
        (replace(CLUSTER), "H100 cluster"),
        (CLUSTER.with_link(latency_s=20e-6), "H100 cluster, changed: latency 20.0 µs"),
        (replace(NODE, algorithm="tree", compute_scale=2.0),
         "A100 node, changed: compute time × 2.00, algorithm of collectives tree"),
        (NODE.with_device(flops_per_s=1e12, launch_s=0.0),
         "A100 node, changed: compute speed 1.00 TFLOP/s, launch of a kernel 0 s"),
        (MADE, "mine, wire"),
        (replace(MADE, compute_scale=0.5), "mine, wire, changed: compute time × 0.50"),
        (Hardware(None, WIRE), "wire, computing as measured"),
        (Hardware(catalogue["A100-SXM-80GB"], catalogue["Ethernet 10 Gb/s"]), "A100-SXM-80GB, Ethernet 10 Gb/s"),
    ],
)  # fmt: skip
def test_the_name_of_hardware(hardware: Hardware, name: str) -> None:
    assert hardware_name(hardware) == name


def test_all_of_the_catalogue_has_its_own_name() -> None:
    entries = catalogue.of(Hardware)
    assert [hardware_name(entry) for entry in entries.values()] == list(entries)


def test_hardware_changed_from_a_given_one_is_named_after_that() -> None:
    moved = replace(MADE, link=Link("20 µs and 1 GB/s", 20e-6, 1e9))
    assert hardware_name(moved, MADE) == "mine, wire, changed: latency 20.0 µs, bandwidth 1.00 GB/s"
    assert hardware_name(moved) == "mine, 20 µs and 1 GB/s"


def test_what_was_changed_before_is_named_with_what_is_changed_now() -> None:
    slower = replace(CLUSTER, compute_scale=2.0)
    moved = slower.with_link(latency_s=20e-6)
    assert hardware_name(moved, slower) == "H100 cluster, changed: latency 20.0 µs, compute time × 2.00"
    assert hardware_name(replace(moved, compute_scale=1.0), slower) == "H100 cluster, changed: latency 20.0 µs"


def test_a_predicted_timeline_says_for_what_and_a_measured_one_that_it_was_measured() -> None:
    trace, wire = ddp(), Hardware(None, WIRE)
    assert str(trace.timeline(wire)).startswith("Timeline of 4 ranks (predicted for wire, computing as measured): ")
    moved = simulate(trace, replace(wire, compute_scale=2.0), wire)
    assert "(predicted for wire, computing as measured, changed: compute time × 2.00)" in str(moved)
    assert str(trace.timeline()).startswith("Timeline of 4 ranks (measured): ")
    order = simulate_schedule(schedules.one_f_one_b(4, 8), Costs())
    assert str(order).startswith("Timeline of 4 ranks (predicted for 1F1B): ")
