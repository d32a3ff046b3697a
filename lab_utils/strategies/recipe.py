"""A GPT trained on real text by data parallelism: the seven phases of training as one program.

On the lab's ranks `train(Recipe())`; anywhere else, a GPU for each process where there are GPUs:

    torchrun --nproc-per-node 4 -m lab_utils.strategies.recipe --steps 300

B blocks in this rank's shard of the batch   T block
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab_utils import corpus
from lab_utils.comm.recorder.recorder import phase
from lab_utils.comm.status.progress import report
from lab_utils.gpt import GPT, GPTConfig
from lab_utils.strategies.data import all_reduce

HELD_OUT = 0.1  # the last part of the text, for evaluation
Step = Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is trained, and how. `batch` is the global batch, so that the result does not depend on the number of ranks.

    learning_rate   peak of a warm-up over `warmup` steps, followed by a cosine decay to a tenth
    stop_below      stop once a batch's loss is below this, in nats per token; 0 runs all steps
    text            a text file or folder instead of the lab's own text
    """

    steps: int = 300
    batch: int = 16
    block: int = 64
    vocabulary: int = 1024
    layers: int = 2
    channels: int = 96
    learning_rate: float = 6e-3
    warmup: int = 50
    stop_below: float = 0.0
    dtype: torch.dtype = torch.float64
    seed: int = 0
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Data:
    """The preprocessed text."""

    tokens: corpus.BPE
    train: corpus.Blocks
    held_out: corpus.Blocks


def train(
    recipe: Recipe,
    step: Step = all_reduce.step,
    rank: int | None = None,
    ranks: int | None = None,
    steps: int | None = None,
) -> tuple[GPT, Data, list[float]]:
    """Run all seven phases; return the model, the data, and the loss of each step's whole batch.

    `step` is the strategy. rank and ranks default to the process group's (0 and 1: serial). `steps` ends the run
    early, on the recipe's schedule.
    """
    rank = dist.get_rank() if rank is None else rank
    ranks = dist.get_world_size() if ranks is None else ranks
    if recipe.batch % ranks:
        raise ValueError(f"batch={recipe.batch} is not divisible by {ranks} ranks: their means would weigh unequally")
    with phase("preprocess"):
        data = preprocess(recipe)
    with phase("initialise"):
        model, optimizer, schedule = initialise(recipe)
        if ranks > 1:
            all_reduce.replicate(model)
    losses, batches = [], corpus.Batches(len(data.train), recipe.batch, recipe.seed)
    for i in range(recipe.steps if steps is None else steps):
        mine = data.train[batches.part(i, rank, ranks)]
        # forward, backward, aggregate, update
        loss = step(model, optimizer, tensor(mine.x), tensor(mine.y))
        with phase("check"):
            schedule.step()
            losses.append(loss.item())
            report(step=i, loss=losses[-1])
            if losses[-1] < recipe.stop_below:
                break
    return model, data, losses


def preprocess(recipe: Recipe) -> Data:
    """Clean the text, train a tokenizer on its training part, cut it into blocks."""
    text = corpus.clean(corpus.load(recipe.text))
    tokens = corpus.BPE.train(text[: int((1 - HELD_OUT) * len(text))], recipe.vocabulary)
    front, back = corpus.split(tokens.encode(text), HELD_OUT)
    return Data(tokens, corpus.cut(front, recipe.block), corpus.cut(back, recipe.block))


def initialise(recipe: Recipe) -> tuple[GPT, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Return the same model on every rank, since all ranks use the same seed, with its optimizer and schedule."""
    torch.manual_seed(recipe.seed)
    config = GPTConfig(recipe.vocabulary, recipe.block, recipe.layers, recipe.channels)
    model = GPT(config).to(device(), recipe.dtype)
    optimizer = torch.optim.AdamW(model.parameters(), recipe.learning_rate, betas=(0.9, 0.99), weight_decay=0.1)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / recipe.warmup, 1.0, recipe.warmup)
    cool = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, max(1, recipe.steps - recipe.warmup), recipe.learning_rate / 10
    )
    return model, optimizer, torch.optim.lr_scheduler.SequentialLR(optimizer, [warm, cool], [recipe.warmup])


@torch.no_grad()
def evaluate(model: nn.Module, blocks: corpus.Blocks) -> float:
    """Return the mean loss in nats per token, the same on every rank."""
    return model(tensor(blocks.x), tensor(blocks.y))[1].item()


def write(model: GPT, tokens: corpus.BPE, prompt: str = "The ", length: int = 100) -> str:
    """Generate `length` tokens after the prompt; the same on every call."""
    draw = torch.Generator(device()).manual_seed(0)
    ids = model.generate(tensor(tokens.encode(prompt))[None], length, temperature=0.7, generator=draw)
    return tokens.decode(ids[0].cpu().numpy())


def device() -> torch.device:
    """Return this process's GPU where there are GPUs, else the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def tensor(array) -> Tensor:
    return torch.from_numpy(array.copy()).to(device())


def main() -> None:
    """Run one rank of a torchrun."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=Recipe().steps)
    parser.add_argument("--text", help="a text file or folder; the lab's own text by default")
    arguments = parser.parse_args()
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    model, data, losses = train(Recipe(steps=arguments.steps, text=arguments.text))
    if dist.get_rank() == 0:
        held_out = evaluate(model, data.held_out)
        print(f"loss {losses[0]:.3f} → {losses[-1]:.3f}, held out {held_out:.3f} nats a token")
        print(write(model, data.tokens))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
