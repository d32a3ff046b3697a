"""What test_kernels.py runs on the ranks: steps of a small GPT, and what they count while they are recorded."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from lab_utils.comm import phase, recording
from lab_utils.comm.recorder import live_memory
from lab_utils.gpt import GPT, GPTConfig
from lab_utils.timeline import Op
from lab_utils.timeline.ops import Rise

CONFIG = GPTConfig(vocabulary=64, block=16, layers=2, channels=32, heads=4, tied=False)
TAKEN_BYTES = 4_000_000
TOKENS = 4 * 16  # of a batch
HEAD_FLOPS = 3 * 2 * TOKENS * 32 * 64  # output layer: forward, gradient of its input, of its weight


def torchs_counter() -> FlopCounterMode:
    """Its registry has attention on GPUs only, so attention on the CPU is added, from its own formulas."""
    aten = torch.ops.aten
    return FlopCounterMode(
        display=False,
        custom_mapping={
            aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v),
            aten._scaled_dot_product_flash_attention_for_cpu_backward: (
                lambda grad, q, k, v, *_, **__: sdpa_backward_flop_count(grad, q, k, v)
            ),
        },
    )


def gpt(kind: str) -> nn.Module:
    """The GPT as it is, in DDP, in FSDP2, with checkpoints, or with its layers' matrices split over all ranks."""
    torch.manual_seed(0)
    model = GPT(CONFIG)
    if kind == "ddp":
        return nn.parallel.DistributedDataParallel(model)
    if kind == "fsdp":
        from torch.distributed.fsdp import fully_shard

        for block in model.blocks:
            fully_shard(block)
        return fully_shard(model)
    if kind == "checkpointed":
        from torch.utils.checkpoint import checkpoint

        for block in model.blocks:
            block.forward = lambda x, run=block.forward: checkpoint(run, x, use_reentrant=False)
    if kind == "tensor parallel":
        split(model)
    return model


def split(model: GPT) -> None:
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    columns = [*(f"attention.{name}" for name in ("query", "key", "value")), "mlp.up"]
    plan = {**{name: ColwiseParallel() for name in columns}, "attention.out": RowwiseParallel()}
    for block in model.blocks:
        parallelize_module(block, mesh, {**plan, "mlp.down": RowwiseParallel()})


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    x = torch.arange(TOKENS).reshape(4, 16) % CONFIG.vocabulary
    optimizer.zero_grad()
    with phase("forward"):
        _, loss = model(x, x)
    with phase("backward"):
        loss.backward()
    with phase("update"):
        optimizer.step()
    return loss.item()


def counted_step(kind: str) -> tuple[int, list[Op]]:
    """A step's FLOPs by torch's own counter, and the ops of the next."""
    model = gpt(kind)
    optimizer = torch.optim.AdamW(model.parameters())
    with torchs_counter() as torchs:
        step(model, optimizer)
    with recording() as recorded:
        step(model, optimizer)
    return torchs.get_total_flops(), recorded.ops


def held_by_steps(kind: str) -> tuple[int, int, int]:
    """Bytes after the gradients of a step have gone, after the next step, and at most within it."""
    model = gpt(kind)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(2):  # in its second DDP forms its buckets anew
        step(model, optimizer)
    optimizer.zero_grad()
    gc.collect()  # what earlier programs on this rank left in circles would go in between
    with recording() as recorded:
        _ = torch.empty(0)
        with phase("step"):
            step(model, optimizer)
    begin, *computed = [op for op in recorded.ops if op.kind == "compute"]
    return begin.live_bytes, computed[-1].live_bytes, max(op.peak_bytes for op in computed)


def takes_memory_after_a_wait(folder: str) -> None:
    """Rank 0 waits for rank 1, takes memory at once, and goes on for a while, by a clock of its own.

    Its first reading, at the wait's begin, lets rank 1 come; the clock goes on when rank 1 does.
    """
    waits, came = Path(folder, "waits"), Path(folder, "came")
    if dist.get_rank() == 1:
        waits.read_bytes()
        came.touch()
        dist.barrier()
        dist.barrier()
        return
    readings: list[float] = []

    def now_s() -> float:
        if not readings:
            waits.write_bytes(b"")
        readings.append(100.0 * came.exists())
        return readings[-1] + later_s

    later_s, of_the_machine = 0.0, live_memory.time
    live_memory.time = SimpleNamespace(perf_counter=now_s)
    try:
        dist.barrier()
        _taken = torch.ones(TAKEN_BYTES // 4)
        later_s = 100.0
        dist.barrier()
    finally:
        live_memory.time = of_the_machine


def takes(rises: Sequence[Rise]) -> bool:
    return rises[-1].bytes - rises[0].bytes == TAKEN_BYTES


def three_losses(count: bool | None) -> list[float]:
    """Of a GPT with dropout, trained and looked at; recorded unless `count` is None."""
    torch.manual_seed(0)
    model = GPT(GPTConfig(64, 16, 1, 32, 4, dropout=0.5))
    optimizer = torch.optim.AdamW(model.parameters())
    if count is None:
        return [step(model, optimizer), step(model, optimizer), inferred(model)]
    with recording(count):
        return [step(model, optimizer), step(model, optimizer), inferred(model)]


@torch.inference_mode()
def inferred(model: nn.Module) -> float:
    return model(torch.arange(16)[None])[0].sum().item()


LEFT_BYTES = 400_000_000


def leave_a_cycle() -> None:
    """Leave garbage that only the collector finds, as a model with hooks does."""
    gc.collect()  # so that it does not run by itself before the next call begins
    model = [torch.empty(LEFT_BYTES // 4)]
    model.append(model)


def matmuls_between_ops() -> None:
    a, b, x = torch.ones(4, 8), torch.ones(8, 2), torch.ones(4)
    _ = a @ b
    dist.all_reduce(x)
    with phase("twice"):
        _ = a @ b
        _ = a @ b
    work = dist.all_reduce(x, async_op=True)
    _ = torch.ones(8)
    work.wait()


def ddp_step(size: int, buckets: int) -> None:
    """Of that many linear layers, each of size by size and alone in its bucket."""
    layers = [nn.Linear(size, size, bias=False) for _ in range(buckets)]
    model = nn.parallel.DistributedDataParallel(nn.Sequential(*layers), bucket_cap_mb=1e-6)
    for _ in range(2):  # after the first, DDP forms its buckets anew
        model(torch.ones(1, size)).sum().backward()
    with phase("recorded"):
        model(torch.ones(1, size)).sum().backward()


def pipeline(microbatches: int) -> list[Op]:
    """A 1F1B step over all ranks, two linear layers [8, 8] a stage and 4 rows a micro-batch."""
    from torch.distributed.pipelining import PipelineStage, Schedule1F1B

    rank, ranks = dist.get_rank(), dist.get_world_size()
    stage = PipelineStage(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)), rank, ranks, torch.device("cpu"))
    schedule = Schedule1F1B(stage, microbatches, loss_fn=lambda y, target: ((y - target) ** 2).sum())
    x = torch.ones(4 * microbatches, 8)

    def run() -> None:
        schedule.step(*([x] if rank == 0 else []), **({"target": x} if rank == ranks - 1 else {}))

    run()  # the first finds out the shapes
    with recording() as recorded:
        run()
    return recorded.ops


def squared(x: torch.Tensor) -> torch.Tensor:
    return (x @ x).sin().sum()


def run_compiled() -> float:
    return torch.compile(squared, backend="eager")(torch.ones(8, 8)).item()


def compiled_before_during_and_after() -> tuple[list[float], str, list[int]]:
    """What the compiled function gives, what a recording says of it, and how often it was compiled by then."""
    times = [0]

    def compiler(graph: torch.fx.GraphModule, _: list) -> Callable:
        times.append(times[-1] + 1)
        return graph.forward

    run, x, refusal = torch.compile(squared, backend=compiler), torch.ones(8, 8), ""
    given = [run(x).item()]
    try:
        with recording():
            run(x)
    except RuntimeError as error:
        refusal = str(error)
    with recording(count=False):
        given.append(run(x).item())
    return [*given, run(torch.ones(4, 4, 4)).item()], refusal, times


GATHERED_BYTES = 4_000_000


def gathered_again_and_again(times: int) -> None:
    given = torch.ones(GATHERED_BYTES // 4 // dist.get_world_size())
    for _ in range(times):
        made = torch.zeros(GATHERED_BYTES // 4)
        dist.all_gather_single(made, given, async_op=True).wait()
