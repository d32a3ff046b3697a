"""What the tests of the collective algorithms run on every rank; each check_... returns what the rank saw."""

from __future__ import annotations

import numpy as np
import torch
import torch.distributed as dist

from lab_utils.comm.algorithms import ring, tree, two_level
from lab_utils.comm.process_group.backends import BACKEND
from lab_utils.comm.process_group.forming_groups import register_backend
from lab_utils.comm.recorder.recorder import recorder, recording

MODULES = {"ring": ring, "tree": tree, "two_level": two_level}


def variants(n: int) -> list[tuple[str, int | None]]:
    """Every algorithm for n ranks; two_level with every size of node that n allows (1 and n: if n < 5)."""
    node_sizes = [m for m in range(1, n + 1) if n % m == 0 and (1 < m < n or n < 5)]
    return [("ring", None), ("tree", None), *(("two_level", m) for m in node_sizes)]


def call(algorithm, node_size, collective, *tensors, **options):
    extra = () if node_size is None else (node_size,)
    getattr(MODULES[algorithm], f"{algorithm}_{collective}")(*tensors, *extra, **options)


def sample(rank, numel, dtype, small_integers=False):
    """What `rank` brings: whole numbers that no dtype rounds when adding, or any between -1.5 and 1.5."""
    generator = torch.Generator().manual_seed(1000 * rank + numel)
    if small_integers:
        low = 0 if dtype in (torch.uint8, torch.bool) else -3
        return torch.randint(low, 4, (numel,), generator=generator).to(dtype)
    return ((torch.rand(numel, generator=generator, dtype=torch.float64) - 0.5) * 3).to(dtype)


def gloo_all_gather(mine, numel, n):
    """gloo gathers only equal sizes: gather padded chunks, then cut the padding off."""
    sizes = [len(chunk) for chunk in torch.empty(numel).tensor_split(n)]
    padded = mine.new_zeros(max(sizes) if sizes else 0)
    padded[: mine.numel()] = mine
    gathered = [torch.empty_like(padded) for _ in range(n)]
    dist.all_gather(gathered, padded)
    return torch.cat([chunk[:size] for chunk, size in zip(gathered, sizes, strict=True)])


def ours(algorithm, node_size, collective, x, op):
    """Our collective on x, which is the whole tensor on every rank."""
    mine = x.tensor_split(dist.get_world_size())[dist.get_rank()].clone()
    before = x.clone()
    if collective == "all_reduce":
        call(algorithm, node_size, collective, before, op=op)
        return before
    if collective == "all_gather":
        output = torch.empty_like(x)
        call(algorithm, node_size, collective, output, mine)
        return output
    output = torch.empty_like(mine)
    call(algorithm, node_size, collective, output, x, op=op)
    assert torch.equal(x, before), "reduce_scatter changed its input"
    return output


def gloos(collective, x, op):
    rank, n = dist.get_rank(), dist.get_world_size()
    if collective == "all_gather":
        return gloo_all_gather(x.tensor_split(n)[rank], x.numel(), n)
    reduced = x.clone()
    dist.all_reduce(reduced, op=op)
    return reduced if collective == "all_reduce" else reduced.tensor_split(n)[rank]


def as_numpy(x):
    return (x.double() if x.is_floating_point() else x.long()).numpy()


def check_against_gloo(collective, cases):
    """For each case (dtype, op, numel, small_integers) and algorithm: which it was, our result, gloo's."""
    seen = []
    for dtype, op_name, numel, small_integers in cases:
        x, op = sample(dist.get_rank(), numel, dtype, small_integers), getattr(dist.ReduceOp, op_name)
        reference = as_numpy(gloos(collective, x, op))
        for algorithm, m in variants(dist.get_world_size()):
            name = f"{algorithm} {m or ''} {collective} {op_name} {dtype} numel={numel}"
            seen.append((name, as_numpy(ours(algorithm, m, collective, x, op)), reference))
    return seen


def check_torch_functions(algorithm, node_size):
    """Our reduce_scatter and all_gather beside torch's, same arguments, in the shapes that those allow."""
    n = dist.get_world_size()
    x = sample(dist.get_rank(), 3 * n, torch.int64, small_integers=True).view(n, 3)
    scattered, torchs_scattered = torch.empty_like(x[:1]), torch.empty_like(x[:1])
    call(algorithm, node_size, "reduce_scatter", scattered, x)
    dist.reduce_scatter_single(torchs_scattered, x)
    gathered, torchs_gathered = torch.empty_like(x), torch.empty_like(x)
    call(algorithm, node_size, "all_gather", gathered, scattered)
    dist.all_gather_single(torchs_gathered, scattered)
    return [as_numpy(t) for t in (scattered, torchs_scattered, gathered, torchs_gathered)]


def check_bits(algorithm, node_size):
    """Bytes of an all-reduce of large and small numbers, and of a sum that each rank begins with its own."""
    rank, n = dist.get_rank(), dist.get_world_size()
    parts = [sample(r, 1003, torch.float32) * 10.0 ** ((torch.arange(1003) + 3 * r) % 7) for r in range(n)]
    results = []
    for op in (dist.ReduceOp.SUM, dist.ReduceOp.AVG):
        x = parts[rank].clone()
        call(algorithm, node_size, "all_reduce", x, op=op)
        results.append(x.numpy().tobytes())
    own_order = sum(parts[rank:] + parts[:rank])
    return results, own_order.numpy().tobytes()


def check_layouts(algorithm, node_size):
    """Columns, steps, scalars and parameters: each result beside that of a plain flat tensor."""
    rank, n = dist.get_rank(), dist.get_world_size()
    whole = torch.arange(12.0 * n) * (rank + 1)
    expected = torch.arange(12.0 * n) * (n * (n + 1) / 2)
    mine = expected.chunk(n)[rank]
    seen = []

    columns = whole.view(4, 3 * n).t().contiguous().t()
    neighbours = torch.full((2 * len(whole),), 9.0)
    every_second = neighbours[::2].copy_(whole)
    parameter = torch.nn.Parameter(whole.clone().view(3, -1))
    for x in (columns, every_second, parameter):
        call(algorithm, node_size, "all_reduce", x)
        seen.append((x.detach().flatten().numpy(), expected.numpy()))
    assert parameter.is_leaf and (neighbours[1::2] == 9).all(), "wrote beside the tensor, or into its graph"

    scalar = torch.tensor(float(rank + 1))
    call(algorithm, node_size, "all_reduce", scalar)
    seen.append((scalar.numpy(), np.float32(n * (n + 1) / 2)))

    columns = torch.nn.Parameter(whole.view(4, 3 * n).t().contiguous().t())
    output = torch.zeros(3, 4).t()
    call(algorithm, node_size, "reduce_scatter", output, columns)
    seen.append((output.flatten().numpy(), mine.numpy()))
    gathered = torch.zeros(3 * n, 4).t()
    call(algorithm, node_size, "all_gather", gathered, torch.nn.Parameter(output))
    seen.append((gathered.flatten().numpy(), expected.numpy()))
    assert not gathered.requires_grad
    return seen


def check_subgroup(algorithm, node_size, members):
    """In a group where a rank has another number than in the world; ranks outside it get an error."""
    group = dist.new_group(members)
    x = torch.full((5,), float(dist.get_rank()), dtype=torch.float64)
    try:
        call(algorithm, node_size, "all_reduce", x, group=group)
    except ValueError as error:
        return str(error)
    finally:
        dist.barrier()
        dist.destroy_process_group(group)
    return x.numpy()


def check_messages(collective, cases):
    """The ops of a recorded run of each case (algorithm, node size, elements), waits among them; all in one group."""
    register_backend()
    recorder.attach(dist.get_rank(), dist.get_world_size(), None)
    group = dist.new_group(backend=BACKEND)
    seen = []
    for algorithm, node_size, numel in cases:
        x = torch.ones(numel, dtype=torch.float32)
        mine = x.tensor_split(dist.get_world_size())[dist.get_rank()].clone()
        tensors = {"all_reduce": (x,), "reduce_scatter": (mine, x), "all_gather": (x, mine)}[collective]
        with recording(count=False) as recorded:
            call(algorithm, node_size, collective, *tensors, group=group)
        seen.append(recorded.ops)
    dist.barrier()
    dist.destroy_process_group(group)
    return seen


def check_refusals(cases):
    """The sentence of the ValueError that each call ends with, before anything was sent."""
    sentences = []
    for algorithm, node_size, collective, tensors, options in cases:
        try:
            call(algorithm, node_size, collective, *tensors, **options)
            sentences.append("no error")
        except ValueError as error:
            sentences.append(str(error))
    return sentences
