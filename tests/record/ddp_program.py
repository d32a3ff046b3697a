"""A program that knows nothing of the lab: PyTorch's own DDP under torchrun, on gloo."""

import sys

import torch
import torch.distributed as dist
from torch.nn import Linear, ReLU, Sequential
from torch.nn.parallel import DistributedDataParallel

STEPS, BATCH, INPUTS, HIDDEN, OUTPUTS = 3, 16, 64, 64, 8


def main() -> None:
    dist.init_process_group("gloo")
    torch.manual_seed(dist.get_rank())
    model = DistributedDataParallel(Sequential(Linear(INPUTS, HIDDEN), ReLU(), Linear(HIDDEN, OUTPUTS)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(STEPS):
        optimizer.zero_grad()
        model(torch.randn(BATCH, INPUTS)).square().mean().backward()
        optimizer.step()
        if step == 1 and dist.get_rank() == 1 and "raise" in sys.argv:
            raise ArithmeticError("rank 1 has had enough")
    weights = [torch.empty(HIDDEN, INPUTS) for _ in range(dist.get_world_size())]
    dist.all_gather(weights, model.module[0].weight.detach())
    same = all(torch.equal(weights[0], each) for each in weights)
    print(f"rank {dist.get_rank()} of {dist.get_backend()}: {'equal' if same else 'different'} weights\n", end="")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
