"""Planted bugs of experts, as the ranks run them: each trains one backward wrong, in one place."""

from __future__ import annotations

import experts_programs as programs

EVEN = {**programs.WITH_ALL, "balance": 0.0}


def one_backward(degrees=None, options=None, before=None, balanced=None, **how):
    """(model, mesh, this rank's loss) after one backward, the gradients not yet summed."""
    from lab_utils.strategies.mesh import Mesh

    model, mesh = programs.gpt(**options or EVEN), Mesh(**degrees) if degrees else None
    if before is not None:
        before(model)
    if mesh is not None:
        programs.split(model, mesh, **how)
    ((x, y),) = programs.batches(1)
    none = None if (options or EVEN)["balance"] else lambda *_: 0.0
    return model, mesh, programs.backward(model, x, y, mesh, balanced=balanced or none)


def taken(model, mesh, loss) -> dict:
    from lab_utils.strategies import serial
    from lab_utils.strategies.model import placement

    return serial.snapshot(model, loss) if mesh is None else placement.snapshot(model, loss, mesh)


def right(degrees=None, options=None, before=None, **how) -> dict:
    from lab_utils.strategies.model import placement

    model, mesh, loss = one_backward(degrees, options, before=before, **how)
    if mesh is not None:
        placement.sum_gradients(model, mesh)
    return taken(model, mesh, loss)


# ---------------------------------------------------------------------- 17
def averaged(degrees) -> dict:
    """The loss a mean over this rank's own targets; gradients averaged over the ranks that hold the parameter."""
    import torch.distributed as dist

    from lab_utils.strategies.model import placement

    model, mesh, loss = one_backward(degrees)
    for parameter in model.parameters():
        parameter.grad *= mesh.dp * mesh.cp  # of the mean over its own targets, a part of the batch
        axes = placement.placement(parameter).partial
        dist.all_reduce(parameter.grad, dist.ReduceOp.AVG, group=mesh.group(*axes))
    return taken(model, mesh, loss)


# ---------------------------------------------------------------------- 18
def without_the_sum_over_tp(degrees) -> dict:
    """f left out where the tokens and their weights enter the part that is split over tp."""
    from lab_utils.strategies.model import placement
    from lab_utils.strategies.model.experts import layer

    kept, layer.copy = layer.copy, lambda x, group: x
    try:
        model, mesh, loss = one_backward(degrees)
    finally:
        layer.copy = kept
    placement.sum_gradients(model, mesh)
    return taken(model, mesh, loss)


def without_the_sum_over_ep(degrees) -> dict:
    """The router's gradient is left as this rank has it."""
    return taken(*one_backward(degrees))


def gathered(model, mesh):
    """A balance loss of probabilities that a plain all-gather brought."""
    import torch
    import torch.distributed as dist

    from lab_utils.strategies.model.experts.layer import mixtures

    total = 0.0
    for layer in mixtures(model).values():
        (seen,) = layer.passes
        layer.passes = []
        mine = torch.cat([seen.probabilities, seen.chosen.double()])
        of_all = [torch.empty_like(mine) for _ in range(mesh.dp)]
        dist.all_gather(of_all, mine.detach(), group=mesh.group("dp"))
        probabilities, chosen = torch.stack(of_all).sum(0).view(2, -1)
        tokens = seen.tokens * mesh.dp
        f, p = chosen / (tokens * layer.router.top_k), probabilities / tokens
        total = total + layer.balance * len(f) * (f * p).sum() / mesh.dp
    return total


def detached(degrees) -> dict:
    from lab_utils.strategies.model import placement

    model, mesh, loss = one_backward(degrees, programs.WITH_ALL, balanced=gathered)
    placement.sum_gradients(model, mesh)
    return taken(model, mesh, loss)


# ---------------------------------------------------------------------- 19
STARVING = {**EVEN, "biased": True}


def starve(model) -> None:
    """Let the bias choose experts 0 and 1 for every token, so that ep's second rank gets none."""
    import torch

    for block in model.blocks:
        block.mlp.router.bias.copy_(torch.tensor([10.0, 10.0, 0.0, 0.0]))


def starved(degrees=None) -> tuple[dict, list[float]]:
    """Snapshot, and the largest gradient of each of this rank's expert weights."""
    from lab_utils.strategies.model import placement

    model, mesh, loss = one_backward(degrees, STARVING, before=starve)
    largest = [p.grad.abs().max().item() for block in model.blocks for p in block.mlp.experts.parameters()]
    if mesh is not None:
        placement.sum_gradients(model, mesh)
    return taken(model, mesh, loss), largest


def left_early(degrees) -> dict:
    """Experts without rows return at once, without a graph."""
    from lab_utils.strategies.model.experts.feed_forward import Experts

    kept = Experts.forward
    Experts.forward = lambda self, rows, counts: kept(self, rows, counts) if len(rows) else rows.detach()
    try:
        return right(degrees, STARVING, starve)
    finally:
        Experts.forward = kept


# ---------------------------------------------------------------------- 20
def balance_alone(degrees=None, micro=1, own_counts=False, summed_over_tp=False) -> list:
    """The routers' gradients of the balance loss alone, whole."""
    import torch.distributed as dist

    from lab_utils.strategies.mesh import Mesh
    from lab_utils.strategies.model import placement
    from lab_utils.strategies.model.experts import balance_loss, count_first
    from lab_utils.strategies.model.experts.layer import mixtures

    model, mesh = programs.gpt(**programs.WITH_ALL), Mesh(**degrees) if degrees else None
    if mesh is not None:
        programs.split(model, mesh)
    ((x, _),) = programs.batches(1)
    parts = programs.part(x, mesh).chunk(micro)
    counted = None if own_counts else count_first(model, parts, mesh)
    for each in parts:
        model(each)
        loss = balance_loss(model, mesh, counted) if not own_counts else balance_loss(model) * len(each) / len(x)
        loss = loss / mesh.cp if own_counts and mesh else loss  # a mean of means over all parts
        loss.backward()
    for parameter in model.parameters():
        if parameter.grad is None:
            parameter.grad = parameter.new_zeros(parameter.shape)
    if mesh is not None:
        placement.sum_gradients(model, mesh)
    routers = [layer.router.weight.grad for layer in mixtures(model).values()]
    if summed_over_tp:
        for gradient in routers:
            dist.all_reduce(gradient, group=mesh.group("tp"))
    return routers


# ---------------------------------------------------------------------- 21
def norms(degrees=None) -> dict:
    """The norm of all gradients: right, without the experts, and of this rank's parts alone."""
    import torch

    from lab_utils.strategies import clipping
    from lab_utils.strategies.model import placement

    model, mesh, _ = one_backward(degrees)
    experts = [p for block in model.blocks for p in block.mlp.experts.parameters()]
    if mesh is None:
        whole, of_experts = (
            torch.nn.utils.get_total_norm([p.grad for p in each]).item() for each in (model.parameters(), experts)
        )
        return {"whole": whole, "experts": of_experts}
    placement.sum_gradients(model, mesh)
    found = {"own": torch.nn.utils.get_total_norm([p.grad for p in model.parameters()]).item()}
    others = [p for p in model.parameters() if all(p is not each for each in experts)]
    first = mesh.mine == dict.fromkeys(mesh.mine, 0)
    shared = [p for p in others if placement.placement(p).shards]  # the shared expert, cut over tp
    once = [p for p in others if first or (mesh.mine["dp"] == 0 and any(p is each for each in shared))]
    found["without experts"] = clipping.clip(model.parameters(), 1e9, in_norm=once).item()
    found["right"] = placement.clip(model, 1e9, mesh).item()
    return found


def summed_over_tp_too(degrees, over_tp: bool) -> dict:
    """The experts' gradients summed over tp as well."""
    import torch.distributed as dist

    from lab_utils.strategies.model import placement

    model, mesh, loss = one_backward(degrees, over_tp=over_tp)
    placement.sum_gradients(model, mesh)
    for block in model.blocks:
        for parameter in block.mlp.experts.parameters():
            dist.all_reduce(parameter.grad, group=mesh.group("tp"))
    return taken(model, mesh, loss)
