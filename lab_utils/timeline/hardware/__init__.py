"""Hardware to place a trace in time on: devices, links, and the time that kernels and ops on the wire take there.

>>> trace.timeline(Hardware(Device("mine", 1e13, 1e12), Link("wire", 5e-6, 25e9)))
"""

from lab_utils.timeline.hardware.model import Device, Hardware, Link
from lab_utils.timeline.hardware.wires import ALGORITHMS, Wire, wire_rows

__all__ = ["ALGORITHMS", "Device", "Hardware", "Link", "Wire", "wire_rows"]
