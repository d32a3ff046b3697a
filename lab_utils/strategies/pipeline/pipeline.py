"""Runs any valid schedule on the ranks of a process group, one op after the other.

Ranks exchange activations and their gradients per micro-batch (Huang et al. 2019, "GPipe", section 2.2); the schedule
defines the order of each rank's ops, and the messages follow from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab_utils.comm.recorder.recorder import phase
from lab_utils.gpt import cross_entropy
from lab_utils.schedule import Schedule
from lab_utils.strategies import serial
from lab_utils.strategies.clipping import clip
from lab_utils.strategies.pipeline.errors import StageError, reraise_as
from lab_utils.strategies.pipeline.executed_order import label
from lab_utils.strategies.pipeline.instructions import ACTIVATIONS, EVALUATE, Leg, Task, forwards, tasks
from lab_utils.strategies.pipeline.messages import LossToAll, Messages, checked
from lab_utils.strategies.pipeline.microbatch import Boundaries, StagePass, Value, tensors, value
from lab_utils.strategies.pipeline.stages import Stage, cut, evaluating
from lab_utils.strategies.pipeline.tied_weights import Shared


@dataclass(frozen=True, slots=True)
class Part:
    """A micro-batch: x for the first stage, y for the last, and its share of the batch's samples."""

    x: Tensor
    y: Tensor
    share: float


class Pipeline:
    """This rank's stages of a model, and training steps through them.

    >>> pipeline = Pipeline(model, schedules.one_f_one_b(stages=4, microbatches=8))     # on each of 4 ranks
    >>> optimizer = torch.optim.AdamW(pipeline.parameters(), lr=1e-3)
    >>> loss = pipeline.run(x, y)          # fills every gradient of this rank's stages
    >>> optimizer.step()

    model     the whole model, the same on every rank (see `cut`), or its stages as returned by `cut`. It may be
              released afterwards: only this rank's stages are kept. Freeze weights before.
    schedule  any valid one. Copies of a weight on several ranks (tied, or of a stage with copies) start with the
              first rank's values and get the sum of the gradients
    loss_of   (the last stage's output, y) -> mean over the samples of x, []
    group     as many ranks as the schedule has; point-to-point by tag, so gloo
    ahead     how many ops beyond the next one to post receives for: 0 takes least memory

    ValueError when stages, ranks and schedule do not fit together. Buffers that a forward changes (running means) see
    each micro-batch separately and stay per rank; dropout uses each rank's own generator.
    """

    def __init__(
        self,
        model: nn.Module | Sequence[nn.Module],
        schedule: Schedule,
        *,
        loss_of: Callable[[Value, Tensor], Tensor] = cross_entropy,
        group: dist.ProcessGroup | None = None,
        ahead: int = 2,
    ) -> None:
        self.group, self.schedule, self.loss_of, self.ahead = group or dist.group.WORLD, schedule, loss_of, ahead
        stages = _stages(model, schedule, self.group)
        self.tasks = tasks(schedule, self.group.rank())
        self.stages = {s: stages[s] for s, ranks in enumerate(schedule.ranks_of_stage) if self.group.rank() in ranks}
        self.peak_alive = 0
        self._boundaries, names, holders = Boundaries(stages), {}, {}
        for stage, ranks in zip(stages, schedule.ranks_of_stage, strict=True):
            for name, parameter in stage.named_parameters():
                names.setdefault(parameter, name)
                holders[parameter] = sorted({*holders.get(parameter, ()), *ranks})
        own = {parameter for stage in self.stages.values() for parameter in stage.parameters()}
        self._names = {parameter: name for parameter, name in names.items() if parameter in own}
        self._shared = Shared(holders, self.group)

    # ------------------------------------------------------------------ a step
    def run(self, x: Tensor, y: Tensor) -> Tensor:
        """Run forward and backward of a batch x, y [B, ...], the same on every rank; return its mean loss, [], on all.

        x is split into the schedule's micro-batches as evenly as possible. Gradients accumulate.
        """
        return self.run_parts(self._split(x, y))

    def run_parts(self, parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """The same of micro-batches (x, y) of any sizes [b, ...], b > 0: each counts by its samples."""
        self._begin(parts)
        self._shared.begin()
        self.peak_alive = 0
        self._run_all(self.tasks)
        self._shared.sum_gradients()
        return self._end()

    def evaluate(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the mean loss of a batch x, y [B, ...], [], on every rank: forwards only, in eval mode (no dropout).

        As in `run`, B is at least the schedule's number of micro-batches. Gradients are not computed or changed.
        """
        with torch.no_grad(), evaluating(self.stages.values()):
            self._begin(self._split(x, y))
            self._run_all(forwards(self.tasks))
            return self._end()

    def clip_grad_norm_(self, max_norm: float) -> Tensor:
        """Scale the gradients of all ranks so that their total norm is at most max_norm; return the norm before, [].

        As torch.nn.utils.clip_grad_norm_ for the whole model; call it between `run` and the update, on every rank. A
        weight held by several ranks counts once. Clipping per rank would scale by the norm of that rank's stages.
        """
        with phase("clip"):
            return clip(self._names, max_norm, self.group, in_norm=self._shared.first_held_here)

    def _split(self, x: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
        if len(x) != len(y):
            raise ValueError(f"x has {len(x)} samples and y {len(y)}: each sample needs its own y")
        m = self.schedule.microbatches
        return list(zip(x.tensor_split(m), y.tensor_split(m), strict=True))

    def _begin(self, parts: Sequence[tuple[Tensor, Tensor]]) -> None:
        sizes = [len(x) for x, _ in parts]
        if len(parts) != self.schedule.microbatches or 0 in sizes:
            raise ValueError(
                f"{len(parts)} micro-batches of {', '.join(map(str, sizes))} samples: the schedule "
                f"{self.schedule.name} has {self.schedule.microbatches}, and each needs at least one"
            )
        self._parts = [Part(x, y, len(x) / sum(sizes)) for x, y in parts]
        self._under_way: dict[tuple[int, int], StagePass] = {}
        self._loss_to_all = LossToAll(self.schedule, self.group)
        self._awaited = 0  # receives are posted for the ops before this one
        most = max(len(shapes) for x, _ in parts for shapes in self._boundaries.of(x))
        self._messages = Messages(self.group, most)

    def _run_all(self, tasks: Sequence[Task]) -> None:
        for at, task in enumerate(tasks):
            self._let_in(tasks, at + self.ahead)
            self._run(task)

    def _end(self) -> Tensor:
        loss = self._loss_to_all.total()
        self._messages.finish()
        self._loss_to_all.finish()
        return loss

    def _let_in(self, tasks: Sequence[Task], last: int) -> None:
        """Post the receives that the ops up to this one need."""
        for task in tasks[self._awaited : last + 1]:
            if task.gets is not None:
                self._messages.expect(task.gets, self._like(task.gets, task.microbatch))
        self._awaited = max(self._awaited, last + 1)

    def _run(self, task: Task) -> None:
        arrived = self._messages.take(task.gets) if task.gets is not None else ()
        name = label(task.kind, task.stage, task.microbatch)
        with phase(name), reraise_as(StageError, f"{task.kind} of micro-batch {task.microbatch} in stage {task.stage}"):
            leaving = self._compute(task, arrived)
        if task.puts is not None:
            self._messages.put(task.puts, leaving)

    def _compute(self, task: Task, arrived: tuple[Tensor, ...]) -> Sequence[Tensor]:
        """Run the op on the received tensors; return the tensors to send."""
        key = task.stage, task.microbatch
        if task.kind == "F":
            self._under_way[key] = stage_pass = self._forward(task, arrived)
            self.peak_alive = max(self.peak_alive, len(self._under_way))
            return stage_pass.take_output()
        if task.kind == EVALUATE:
            return self._evaluate(task, arrived)
        if task.kind == "B":
            return self._under_way[key].backward_input(arrived)
        stage_pass = self._under_way.pop(key)
        return stage_pass.backward(arrived) if task.kind == "BW" else stage_pass.backward_weight() or ()

    def _forward(self, task: Task, arrived: tuple[Tensor, ...]) -> StagePass:
        part, first, last = self._parts[task.microbatch], task.stage == 0, task.stage == self.schedule.stages - 1
        wanted = [t.requires_grad for t in self._boundaries.of(part.x)[task.stage]]
        loss_of = partial(self._loss, part) if last else None
        return StagePass(self.stages[task.stage], (part.x,) if first else arrived, wanted, loss_of)

    def _evaluate(self, task: Task, arrived: tuple[Tensor, ...]) -> Sequence[Tensor]:
        part, last = self._parts[task.microbatch], task.stage == self.schedule.stages - 1
        output = self.stages[task.stage](value(arrived if task.stage else (part.x,)))
        return tensors(self._loss(part, output) if last else output)

    def _loss(self, part: Part, output: Value) -> Tensor:
        loss = checked(self.loss_of(output, part.y)) * part.share
        self._loss_to_all.add(loss)
        return loss

    def _like(self, leg: Leg, microbatch: int) -> list[Tensor]:
        """Return the tensors to receive, as meta tensors: gradients come back for those that require one."""
        shapes = self._boundaries.of(self._parts[microbatch].x)[leg.boundary]
        return [t for t in shapes if leg.way == ACTIVATIONS or t.requires_grad]

    # ------------------------------------------------------------------ the model
    def parameters(self) -> Iterator[nn.Parameter]:
        """Iterate over the parameters of this rank's stages, each once."""
        return iter(self._names)

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """As in the whole model: the same names, a tied parameter under its first."""
        return ((name, parameter) for parameter, name in self._names.items())

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state of this rank's stages, under the whole model's names; all ranks' together are its state."""
        return {name: tensor for stage in self.stages.values() for name, tensor in stage.state_dict().items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Load this rank's part of the whole model's state dict. RuntimeError for a missing name."""
        for stage in self.stages.values():
            stage.load_state_dict({name: state[name] for name in stage.state_dict() if name in state})

    @property
    def peak_activations(self) -> float:
        """Peak of live micro-batches on this rank in the last step, in full stages (Schedule.virtual_stages)."""
        return self.peak_alive / self.schedule.virtual_stages


def _stages(model: nn.Module | Sequence[nn.Module], schedule: Schedule, group: dist.ProcessGroup) -> list[Stage]:
    if schedule.ranks != group.size():
        raise ValueError(f"{schedule.name} is for {schedule.ranks} ranks, and the group has {group.size()}")
    if dist.get_backend(group) == "nccl":
        raise ValueError("nccl takes messages in the order in which they come, and a pipeline names them: use gloo")
    given = not isinstance(model, nn.Module) and all(isinstance(each, Stage) for each in model)
    stages = list(model) if given else cut(model, schedule.stages)
    if len(stages) != schedule.stages:
        raise ValueError(f"{len(stages)} stages of the model, and {schedule.name} has {schedule.stages}")
    return stages


# The counterparts of serial.step and serial.snapshot.
def step(pipeline: Pipeline, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> Tensor:
    """Run one step on the whole batch x, y [B, T], as serial.step; return the loss before it, [], on every rank."""
    optimizer.zero_grad()
    loss = pipeline.run(x, y)
    with phase("update"):
        optimizer.step()
    return loss


def snapshot(pipeline: Pipeline, loss: Tensor) -> dict:
    """Return what parity compares, of the whole model on every rank: this rank's own, the rest gathered."""
    mine = serial.snapshot(pipeline, loss)
    everyones: list[dict] = [{}] * pipeline.group.size()
    dist.all_gather_object(everyones, mine, group=pipeline.group)
    parts = ("gradients", "parameters")
    joined = {part: {name: t for one in (*everyones, mine) for name, t in one[part].items()} for part in parts}
    return {"loss": mine["loss"], **joined}
