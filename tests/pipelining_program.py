"""A program that knows nothing of the lab: PyTorch's own pipelining, over FSDP2 shards, under torchrun with 4 ranks."""

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.pipelining import PipelineStage, Schedule1F1B

STAGES, MICROBATCHES, BATCH, WIDTH = 2, 4, 8, 32


def main() -> None:
    mesh = init_device_mesh("cpu", (STAGES, 2), mesh_dim_names=("pp", "dp"))
    torch.manual_seed(dist.get_rank())
    layers = torch.nn.Sequential(torch.nn.Linear(WIDTH, WIDTH), torch.nn.Tanh())
    fully_shard(layers, mesh=mesh["dp"])
    stage = PipelineStage(layers, mesh["pp"].get_local_rank(), STAGES, torch.device("cpu"), group=mesh.get_group("pp"))
    schedule = Schedule1F1B(stage, MICROBATCHES, loss_fn=lambda output, target: (output - target).square().mean())
    if stage.is_first:
        schedule.step(torch.randn(BATCH, WIDTH))
    else:
        schedule.step(target=torch.randn(BATCH, WIDTH))
    # No destroy_process_group(): the recording goes on until the program ends.


if __name__ == "__main__":
    main()
