"""Catalogue of devices, links and hardware, with the source of each number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lab_utils.text import UnknownName, bytes_text, meant, three_digits, time_text
from lab_utils.timeline.hardware.model import Device, Hardware, Link

_ML = "S. Bekman, Machine Learning Engineering, github.com/stas00/ml-engineering at 744d01e18b"
_NCCL = "NCCL's cost model, github.com/NVIDIA/nccl src/graph/tuning.cc, hwLatencies of Simple in a ring"
_LAUNCH = "launch: NVIDIA, Getting Started with CUDA Graphs (2019), 3.8 µs for each kernel of 2.9 µs, on a V100"

# Cost of a launch on a GPU: the host runs ahead of the stream, so little more than the gap between kernels. Issuing
# an op costs the stream nothing.
_LAUNCH_S = 0.9e-6

# name: bf16 FLOP/s of the best matrix product (MAMF, not the data sheet's peak); bytes/s and GB of memory from the
# data sheet
_DEVICES = {
    "A100-SXM-80GB": (271.2e12, 2.00e12, 80),
    "H100-SXM-80GB": (794.5e12, 3.35e12, 80),
    "H200-SXM": (794.5e12, 4.80e12, 141),
    "B200-SXM": (1745.0e12, 8.00e12, 180),
}

# Fitted on the all-reduces of 2, 4 and 8 A100s, 1 MiB to 1 GiB (33 of the 77 rows of vTrain's tables), as rings.
# Half of the other 44 (3, 5, 6 and 7 A100s) are within 9 %: tests/timeline/hardware repeats the fit and prints it.
_A100_LATENCY_S, _A100_BYTES_PER_S = 6.38e-6, 200.7e9
_VTRAIN = "github.com/VIA-Research/vTrain at f8dda8473a, trace/a100/AR_GPU*_1M_1024M_LUT"

_LINKS = (
    Link("NVLink 3", _A100_LATENCY_S, _A100_BYTES_PER_S, f"fitted on all-reduces of 2, 4 and 8 A100s: {_VTRAIN}"),
    Link("NVLink 4", 3.4e-6, 367.61e9, f"bandwidth: ring of 8 H200, 16 GiB, {_ML} network/README.md; latency: {_NCCL}"),
    Link("NVLink 5", 3.4e-6, 845.67e9, f"bandwidth: 8 B200, 16 GiB, {_ML} network/benchmarks; latency: {_NCCL}"),
    Link("InfiniBand HDR", 14e-6, 25e9, f"nominal, 200 Gb/s for each GPU; latency: {_NCCL}"),
    Link("InfiniBand NDR", 14e-6, 50e9, f"nominal, 400 Gb/s for each GPU; latency: {_NCCL}"),
    Link(
        "Omni-Path 100 ring", 14e-6, 5.06e9,
        f"bandwidth: 32 A100 of Jean Zay, 40.49 Gb/s, github.com/bigscience-workshop/bigscience "
        f"experiments/bandwidth/all_reduce_bench-a100-n4.txt; latency: {_NCCL}",
    ),
    Link("Ethernet 100 Gb/s", 14e-6, 12.5e9, f"nominal, all of it for one rank; latency: {_NCCL}"),
    Link("Ethernet 100 Gb/s shared by 8", 14e-6, 12.5e9 / 8, f"nominal, one port a node; latency: {_NCCL}"),
    Link("Ethernet 10 Gb/s", 14e-6, 1.25e9, f"nominal, all of it for one rank; latency: {_NCCL}"),
)  # fmt: skip

# name: device, link, ranks per node and link between nodes. Rings, as NCCL, within a node; "best" across nodes.
_READY = {
    "A100 node": ("A100-SXM-80GB", "NVLink 3", None, None),
    "H100 node": ("H100-SXM-80GB", "NVLink 4", None, None),
    "H200 node": ("H200-SXM", "NVLink 4", None, None),
    "B200 node": ("B200-SXM", "NVLink 5", None, None),
    "A100 cluster": ("A100-SXM-80GB", "NVLink 3", 8, "InfiniBand HDR"),
    "H100 cluster": ("H100-SXM-80GB", "NVLink 4", 8, "InfiniBand NDR"),
    "H200 cluster": ("H200-SXM", "NVLink 4", 8, "InfiniBand NDR"),
    "B200 cluster": ("B200-SXM", "NVLink 5", 8, "InfiniBand NDR"),
    "A100 cluster on Ethernet": ("A100-SXM-80GB", "NVLink 3", 8, "Ethernet 100 Gb/s shared by 8"),
    "A100 machines of one GPU": ("A100-SXM-80GB", "NVLink 3", 1, "Ethernet 10 Gb/s"),
}


class Catalogue(Mapping[str, Device | Link | Hardware]):
    """Names → devices, links, and complete hardware.

    >>> trace.timeline(catalogue["A100 node"])
    >>> Hardware(catalogue["H100-SXM-80GB"], catalogue["NVLink 4"])
    """

    def __init__(self, entries: Mapping[str, Device | Link | Hardware]) -> None:
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> Device | Link | Hardware:
        """Look up an entry. UnknownName, a KeyError, suggests close names or lists all."""
        if name not in self._entries:
            raise UnknownName(f"nothing in the catalogue is named {name!r}: {meant(name, self._entries)}")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def of(self, kind: type) -> dict[str, Device | Link | Hardware]:
        """The entries of one kind: Device, Link or Hardware."""
        return {name: entry for name, entry in self.items() if isinstance(entry, kind)}

    def __repr__(self) -> str:
        """One line per entry: its name, and its numbers or parts."""
        width = max(map(len, self))
        return "\n".join(f"{name:{width}}  {_told(entry)}" for name, entry in self.items())


def _told(entry: Device | Link | Hardware) -> str:
    match entry:
        case Device():
            return (
                f"{three_digits(entry.flops_per_s / 1e12)} TFLOP/s, {bytes_text(round(entry.memory_bytes_per_s))}/s, "
                f"{bytes_text(entry.memory_bytes)}"
            )
        case Link():
            return f"{time_text(entry.latency_s)}, {bytes_text(round(entry.bytes_per_s))}/s"
        case Hardware():
            return entry.name


def _entries() -> dict[str, Device | Link | Hardware]:
    devices = {
        name: Device(
            name, flops_per_s, memory_bytes_per_s, launch_s=_LAUNCH_S, memory_bytes=memory_gb * 10**9,
            source=f"{_ML} compute/accelerator/README.md (bf16 MAMF; memory: data sheet); {_LAUNCH}",
        )
        for name, (flops_per_s, memory_bytes_per_s, memory_gb) in _DEVICES.items()
    }  # fmt: skip
    links = {link.name: link for link in _LINKS}
    ready = {
        name: Hardware(
            devices[device], links[link], per_node, across and links[across], "ring" if across is None else "best"
        )
        for name, (device, link, per_node, across) in _READY.items()
    }
    return {**devices, **links, **ready}


catalogue = Catalogue(_entries())
