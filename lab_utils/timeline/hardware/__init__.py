"""Hardware models for predictions: devices, links, and the time that kernels and ops on the wire take.

>>> trace.timeline(catalogue["H100 node"])                                               # sourced
>>> trace.timeline(Hardware(Device("mine", 1e13, 1e12), Link("wire", 5e-6, 25e9)))       # invented
>>> trace.timeline(this_machine(ranks).hardware)                                         # measured
"""

from lab_utils.timeline.hardware.calibrate.this_machine import Measured, this_machine
from lab_utils.timeline.hardware.catalogue import Catalogue, catalogue
from lab_utils.timeline.hardware.collective_costs import ALGORITHMS, Wire, wire_rows
from lab_utils.timeline.hardware.model import Device, Hardware, Link

__all__ = [
    "ALGORITHMS",
    "Catalogue",
    "Device",
    "Hardware",
    "Link",
    "Measured",
    "Wire",
    "catalogue",
    "this_machine",
    "wire_rows",
]
