"""A program that asks its group everything, and prints what it is told: run plain, and recorded."""

import json

import group_answers
import torch.distributed as dist

if __name__ == "__main__":
    dist.init_process_group("gloo")
    told = json.dumps({"rank": dist.get_rank(), "told": group_answers.answers()})
    for rank in range(dist.get_world_size()):
        dist.barrier()
        if rank == dist.get_rank():
            print(told, flush=True)
    dist.destroy_process_group()
