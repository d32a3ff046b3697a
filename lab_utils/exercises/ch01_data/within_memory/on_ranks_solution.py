"""A right answer to 01.18, which its explanation quotes."""

from __future__ import annotations

import torch
import torch.distributed as dist


def whole(piece):
    weight = piece.new_empty(dist.get_world_size() * len(piece), piece.shape[1])
    dist.all_gather_single(weight, piece.detach())
    return weight


def layer(weight, x):
    return torch.tanh(torch.nn.functional.linear(x, weight))


def my_zero3(pieces, x, y):
    inputs = []
    for piece in pieces:
        inputs.append(x)
        x = layer(whole(piece), x)
    x.requires_grad_()
    loss = ((x - y) ** 2).mean()
    (upstream,) = torch.autograd.grad(loss, x)
    for piece, x in zip(reversed(pieces), reversed(inputs), strict=True):
        weight, x = whole(piece).requires_grad_(), x.detach().requires_grad_()
        gradient, upstream = torch.autograd.grad(layer(weight, x), (weight, x), upstream)
        dist.reduce_scatter_single(piece.grad, gradient, dist.ReduceOp.AVG)
        del weight, gradient
    return loss.detach()
