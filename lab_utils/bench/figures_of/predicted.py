"""Error of predictions against measurements: steps of DDP and FSDP2 on this machine, in ten configurations."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from statistics import median
from typing import Any, NamedTuple

from lab_utils.bench.figures import Sample, at_most, figure
from lab_utils.text import time_text
from lab_utils.timeline import Op, Timeline, Trace
from lab_utils.timeline.hardware import Hardware, this_machine

RANKS = 2
WARM_UP, STEPS, TURNS = 3, 4, 3
CALIBRATED_ROUNDS, SMALL_STEPS = 7, 9
WORDS, SEQUENCE = 256, 64


class Configuration(NamedTuple):
    """A GPT's channels and layers, sequences (64 words each) per rank, and DDP's bucket size in MB, 0: FSDP2."""

    channels: int
    layers: int
    batch: int
    bucket_mb: float = 0.0

    @property
    def ops(self) -> tuple[str, ...]:
        """The collectives that it uses."""
        return ("all_reduce",) if self.bucket_mb else ("all_gather", "reduce_scatter")

    @property
    def small(self) -> Configuration:
        """A tiny model under the same strategy, whose kernels do almost nothing."""
        return Configuration(16, 2, 1, self.bucket_mb)

    def __str__(self) -> str:
        kind = f"DDP, buckets of {self.bucket_mb:g} MB" if self.bucket_mb else "FSDP2"
        return f"{self.channels} channels, {self.layers} layers, batch {self.batch}, {kind}"


# None of these is a step that this_machine calibrates on.
CONFIGURATIONS = (
    Configuration(96, 6, 16, 0.5),
    Configuration(160, 4, 8, 1),
    Configuration(224, 2, 16, 4),
    Configuration(288, 4, 8, 25),
    Configuration(384, 2, 8, 2),
    Configuration(96, 6, 16),
    Configuration(160, 4, 8),
    Configuration(224, 2, 16),
    Configuration(288, 4, 8),
    Configuration(384, 2, 8),
)


@dataclass(frozen=True, slots=True)
class Compared:
    """Seconds of a step and of its exposed communication: medians of the measured steps, and of the predictions."""

    configuration: Configuration
    step_s: float
    predicted_step_s: float
    exposed_s: float
    predicted_exposed_s: float

    @property
    def step_error(self) -> float:
        return abs(self.predicted_step_s / self.step_s - 1)

    @property
    def exposed_error(self) -> float:
        return abs(self.predicted_exposed_s / self.exposed_s - 1)

    def __str__(self) -> str:
        return (
            f"{str(self.configuration):60} step {time_text(self.predicted_step_s):>8} for {time_text(self.step_s):>8}, "
            f"{self.step_error:4.0%} off; exposed {time_text(self.predicted_exposed_s):>8} for "
            f"{time_text(self.exposed_s):>8}, {self.exposed_error:4.0%} off"
        )


# ---------------------------------------------------------------------- on a rank
def steps_of(configuration: Configuration, steps: int) -> tuple[list[Op], list[list[Op]]]:
    """Return the ops of one step with kernels counted, and those of `steps` steps timed without counting."""
    import torch
    import torch.distributed as dist

    from lab_utils.comm import recording

    step = _program(torch, configuration)
    for _ in range(WARM_UP):
        step()
    timed = []
    for _ in range(steps):
        with recording(count=False, meet=dist.barrier) as recorded:
            step()
        timed.append(recorded.ops)
    with recording(meet=dist.barrier) as counted:
        step()
    return counted.ops, timed


def _program(torch: Any, configuration: Configuration) -> Callable[[], None]:
    from lab_utils.gpt import GPT, GPTConfig

    c = configuration
    torch.manual_seed(0)
    model = _parallel(GPT(GPTConfig(WORDS, SEQUENCE, c.layers, c.channels, heads=4, tied=False)), c.bucket_mb)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    ids = torch.randint(WORDS, (c.batch, SEQUENCE))

    def step() -> None:
        optimizer.zero_grad()
        model(ids, ids)[1].backward()
        optimizer.step()

    return step


def _parallel(model: Any, bucket_mb: float) -> Any:
    from torch.distributed.fsdp import fully_shard
    from torch.nn.parallel import DistributedDataParallel

    if bucket_mb:
        return DistributedDataParallel(model, bucket_cap_mb=bucket_mb, gradient_as_bucket_view=True)
    for block in model.blocks:
        fully_shard(block)
    return fully_shard(model)


# ---------------------------------------------------------------------- here
def compare(ranks: Any, configuration: Configuration, steps: int = STEPS, turns: int = TURNS) -> Compared:
    """Alternate calibration and measurement, so that both see the same load of the machine; return the medians."""
    measured: list[Timeline] = []
    predicted: list[Timeline] = []
    for _ in range(turns):
        hardware = calibrated(ranks, configuration)
        counted, timed = traces(ranks, configuration, steps)
        measured += timed
        predicted.append(counted.timeline(hardware))
    return Compared(
        configuration,
        median(timeline.makespan_s for timeline in measured),
        median(timeline.makespan_s for timeline in predicted),
        median(timeline.exposed_comm_s for timeline in measured),
        median(timeline.exposed_comm_s for timeline in predicted),
    )


def calibrated(ranks: Any, configuration: Configuration) -> Hardware:
    """This machine, with its link fitted on the configuration's ops and its launches on a small model of its kind."""
    hardware = this_machine(ranks, rounds=CALIBRATED_ROUNDS, ops=configuration.ops).hardware
    return with_launches_of(hardware, *traces(ranks, configuration.small, SMALL_STEPS))


def traces(ranks: Any, configuration: Configuration, steps: int) -> tuple[Trace, list[Timeline]]:
    """Return the trace of one step with kernels counted, and `steps` measured timelines."""
    by_rank = ranks.run(steps_of, configuration, steps)
    measured = [_trace(ops).timeline() for ops in zip(*(timed for _, timed in by_rank), strict=True)]
    return _trace([counted for counted, _ in by_rank]), measured


def _trace(by_rank: Any) -> Trace:
    return Trace.from_ranks(by_rank, [[] for _ in by_rank], [])


@cache
def study(turn: int) -> tuple[Compared, ...]:
    """Compare all configurations, cached per turn: both figures use the same results."""
    from lab_utils.ranks import start_ranks

    with start_ranks(RANKS) as ranks:
        return tuple(_told(compare(ranks, configuration)) for configuration in CONFIGURATIONS)


def _told(compared: Compared) -> Compared:
    print(f"      {compared}", file=sys.stderr, flush=True)
    return compared


@figure(
    "predicted-exposed", "how far predicted exposed communication is from measured, over 10 configurations", "%",
    target=at_most(15), rounds=1, of="exposed_error", turns=count(),
)  # fmt: skip
@figure(
    "predicted-step", "how far a predicted DDP or FSDP2 step is from measured, over 10 configurations", "%",
    target=at_most(15), rounds=1, of="step_error", turns=count(),
)  # fmt: skip
def predicted(of: str, turns: Iterator[int]) -> Iterator[Sample]:
    for compared in study(next(turns)):
        yield Sample(100 * getattr(compared, of))


def with_launches_of(hardware: Hardware, counted: Trace, measured: Sequence[Timeline]) -> Hardware:
    """Return the hardware with launch_s as measured in this program.

    The time between kernels differs more between programs than between machines: on one machine some 25 µs per kernel
    under DDP, and 100 under FSDP2. So calibrate for a large model on a small one under the same strategy.

    counted    the program, recorded with its kernels counted
    measured   timelines of the same steps recorded without counting, which takes time itself; their median is used

    ValueError when no kernels were counted, or the hardware has no device.
    """
    kernels = sum(op.kernels for ops in counted.ops for op in ops if op.kind == "compute")
    if not kernels:
        raise ValueError("no kernels were counted in this trace: record it with count=True")
    without = counted.timeline(hardware.with_device(launch_s=0.0)).compute_by_rank_s
    took = [median(each) for each in zip(*(timeline.compute_by_rank_s for timeline in measured), strict=True)]
    beyond_s = sum(max(0.0, all_s - kernels_s) for all_s, kernels_s in zip(took, without, strict=True))
    return hardware.with_device(launch_s=beyond_s / kernels)
