"""What a reader may have in the cells of exercises 00.4 to 00.8: stubs, planted bugs, mended and wrong versions."""

from __future__ import annotations

IMPORTS = "\nimport torch\nimport torch.distributed as dist\n"

MY_ALL_GATHER = {
    "stub": """
def my_all_gather(x):
    raise NotImplementedError
""",
    "dots": """
def my_all_gather(x):
    ...
    return ...
""",
    "right": """
def my_all_gather(x):
    rank, n = dist.get_rank(), dist.get_world_size()
    others = [r for r in range(n) if r != rank]
    sending = [dist.isend(x, r) for r in others]
    out = [torch.empty_like(x) for _ in range(n)]
    out[rank].copy_(x)
    for r in others:
        dist.recv(out[r], r)
    for work in sending:
        work.wait()
    return torch.stack(out)
""",
    "collective": """
def my_all_gather(x):
    out = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(out, x)
    return out
""",
    "reversed": """
def my_all_gather(x):
    out = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(out, x)
    return out[::-1]
""",
    "short": """
def my_all_gather(x):
    return [x]
""",
    "documented": """
def my_all_gather(x):
    "Every rank's x, stacked."
    ...
""",
    "nothing": """
def my_all_gather(x):
    x = None
""",
    "flat": """
def my_all_gather(x):
    return x.flatten()
""",
    "changes_x": """
def my_all_gather(x):
    out = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(out, x)
    x.zero_()
    return out
""",
    "raises": """
def my_all_gather(x):
    if dist.get_rank() == 2:
        raise ValueError("no more")
    return [x] * dist.get_world_size()
""",
    "two_arguments": """
def my_all_gather(x, y):
    return x
""",
    "hangs": """
def my_all_gather(x):
    dist.recv(torch.empty_like(x), (dist.get_rank() + 1) % dist.get_world_size())
""",
}

RING_PLANTED = """
def ring_all_gather(x):
    rank, n = dist.get_rank(), dist.get_world_size()
    out = torch.empty(n, *x.shape, dtype=x.dtype)
    out[rank] = x
    for k in range(n - 1):
        sending = dist.isend(out[rank], (rank + 1) % n)
        dist.recv(out[(rank - k - 1) % n], (rank - 1) % n)
        sending.wait()
    return out
"""
RING_MENDED = RING_PLANTED.replace("out[rank], (rank + 1)", "out[(rank - k) % n], (rank + 1)")

SWAP = {
    "planted": """
def swap(x):
    partner, theirs = dist.get_rank() ^ 1, torch.empty_like(x)
    dist.recv(theirs, partner)
    dist.send(x, partner)
    return theirs
""",
    "isend": """
def swap(x):
    partner, theirs = dist.get_rank() ^ 1, torch.empty_like(x)
    sending = dist.isend(x, partner)
    dist.recv(theirs, partner)
    sending.wait()
    return theirs
""",
    "in_turn": """
def swap(x):
    partner, theirs = dist.get_rank() ^ 1, torch.empty_like(x)
    if dist.get_rank() < partner:
        dist.send(x, partner)
        dist.recv(theirs, partner)
    else:
        dist.recv(theirs, partner)
        dist.send(x, partner)
    return theirs
""",
    "itself": """
def swap(x):
    return x
""",
    "nothing": """
def swap(x):
    x = x + 1
""",
}

TOTAL = {
    "planted": """
def total(batches):
    result = torch.zeros(())
    for batch in batches:
        part = batch.sum()
        dist.all_reduce(part)
        result += part
    return result
""",
    "mended": """
def total(batches):
    result = torch.stack([batch.sum() for batch in batches]).sum()
    dist.all_reduce(result)
    return result
""",
    "own": """
def total(batches):
    return sum(batch.sum() for batch in batches)
""",
}

REDUCE_SCATTER = {
    "stub": """
def my_reduce_scatter(x):
    return ...
""",
    "right": """
def my_reduce_scatter(x):
    rank, n = dist.get_rank(), dist.get_world_size()
    partial = x[(rank - 1) % n]
    for k in range(n - 1):
        arrived = torch.empty_like(partial)
        sending = dist.isend(partial, (rank + 1) % n)
        dist.recv(arrived, (rank - 1) % n)
        sending.wait()
        partial = arrived + x[(rank - 2 - k) % n]
    return partial
""",
    "collective": """
def my_reduce_scatter(x):
    out = torch.empty_like(x[:1])
    dist.reduce_scatter_single(out, x)
    return out[0]
""",
    "all_rows": """
def my_reduce_scatter(x):
    out = x.clone()
    dist.all_reduce(out)
    return out
""",
    "own_row": """
def my_reduce_scatter(x):
    return x[dist.get_rank()]
""",
    "nothing": """
def my_reduce_scatter(x):
    x = x + 1
""",
    "one_number": """
def my_reduce_scatter(x):
    return x.sum()
""",
    "infinite": """
def my_reduce_scatter(x):
    return torch.full_like(x[0], float("inf"))
""",
    "mean": """
def my_reduce_scatter(x):
    out = x.clone()
    dist.all_reduce(out)
    return out[dist.get_rank()] / dist.get_world_size()
""",
    "direct": """
def my_reduce_scatter(x):
    rank, n = dist.get_rank(), dist.get_world_size()
    others = [other for other in range(n) if other != rank]
    sending = [dist.isend(x[other], other) for other in others]
    total = x[rank].clone()
    for other in others:
        arrived = torch.empty_like(total)
        dist.recv(arrived, other)
        total += arrived
    for work in sending:
        work.wait()
    return total
""",
    "whole_tensor": """
def my_reduce_scatter(x):
    rank, n = dist.get_rank(), dist.get_world_size()
    total, passed = x.clone(), x
    for k in range(n - 1):
        arrived = torch.empty_like(x)
        sending = dist.isend(passed, (rank + 1) % n)
        dist.recv(arrived, (rank - 1) % n)
        sending.wait()
        total, passed = total + arrived, arrived
    return total[rank]
""",
    "sliced": """
def my_reduce_scatter(x):
    rank, n = dist.get_rank(), dist.get_world_size()
    out = x.clone()
    for k in range(2 * (n - 1)):
        given, taken = (rank - 1 - k) % n, (rank - 2 - k) % n
        arrived = torch.empty_like(x[0])
        sending = dist.isend(out[given], (rank + 1) % n)
        dist.recv(arrived, (rank - 1) % n)
        sending.wait()
        out[taken] = out[taken] + arrived if k < n - 1 else arrived
    return out[rank]
""",
    "blocking": """
def my_reduce_scatter(x):
    rank, n = dist.get_rank(), dist.get_world_size()
    arrived = torch.empty_like(x[0])
    dist.recv(arrived, (rank - 1) % n)
    dist.send(x[0], (rank + 1) % n)
    return arrived
""",
}
_RIGHT = REDUCE_SCATTER["right"]
REDUCE_SCATTER |= {
    "starts_with_its_own": _RIGHT.replace("x[(rank - 1) % n]", "x[rank]").replace("rank - 2 - k", "rank - 1 - k"),
    "one_round_too_few": _RIGHT.replace("range(n - 1)", "range(n - 2)"),
    "forgets_to_add": _RIGHT.replace("arrived + x[(rank - 2 - k) % n]", "arrived"),
    "adds_twice": _RIGHT.replace("arrived + x", "arrived + 2 * x"),
    "changes_x": _RIGHT.replace("    return partial", "    x.zero_()\n    return partial"),
}
