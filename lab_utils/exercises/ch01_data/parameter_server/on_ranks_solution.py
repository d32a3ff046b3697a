"""A right answer to 01.19, which its explanation quotes."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch.nn.utils import parameters_to_vector, vector_to_parameters


def my_server(model, optimizer, x, y):
    parameters = list(model.parameters())
    flat = parameters_to_vector(parameters).detach()
    if dist.get_rank() > 0:
        model.zero_grad()
        model(x, y)[1].backward()
        gradient = parameters_to_vector(p.grad for p in parameters)
        dist.send(torch.cat([gradient * len(x), gradient.new_tensor([len(x)])]), 0)
        dist.recv(flat, 0)
        vector_to_parameters(flat, parameters)
        return
    pushed, total = torch.zeros(len(flat) + 1).to(flat), 0
    for worker in range(1, dist.get_world_size()):
        dist.recv(pushed, worker)
        total = total + pushed
    mean = (total[:-1] / total[-1]).split([p.numel() for p in parameters])
    for parameter, gradient in zip(parameters, mean, strict=True):
        parameter.grad = gradient.view_as(parameter)
    optimizer.step()
    for worker in range(1, dist.get_world_size()):
        dist.send(parameters_to_vector(parameters).detach(), worker)
