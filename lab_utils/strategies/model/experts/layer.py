"""A mixture of experts in place of a feed-forward network, whole or split over a mesh.

B batch   T tokens of a sequence   N = B · T tokens of this rank   C channels   E experts   k experts of each token
I hidden width of an expert

    y = Σ_j weight_j · expert_j(x) over the k chosen, + shared(x)

Dispatch and combine are two all-to-alls along ep, forward and backward. Over tp every rank sends the same tokens to its
part of the same experts; the parts are summed once, after the combine. With sequence parallelism a rank has T / tp
tokens and routes these; it gathers all before it dispatches, and the sum is a reduce-scatter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from lab_utils.comm.recorder.recorder import in_backward
from lab_utils.strategies.mesh import Mesh
from lab_utils.strategies.model.experts import dispatch
from lab_utils.strategies.model.experts.feed_forward import Activation, Experts
from lab_utils.strategies.model.experts.router import Router, Routing, Score
from lab_utils.strategies.model.placement import BATCH_AXES, place
from lab_utils.strategies.model.tensor_parallel.operators import (
    copy,
    gather,
    gather_tokens,
    reduce,
    reduce_scatter,
    scatter,
)

if TYPE_CHECKING:
    from lab_utils.gpt import GPT


class Pass(NamedTuple):
    """What the balance loss needs of one forward: sums over the tokens of this rank and the others of tp.

    probabilities  [E], with their graph
    chosen         [E] int64
    tokens         how many
    """

    probabilities: Tensor
    chosen: Tensor
    tokens: int


class MixtureOfExperts(nn.Module):
    """A router, E experts, and a shared one through which every token goes (DeepSeekMoE 2024, section 3.2).

    >>> layer = MixtureOfExperts(channels=64, hidden=128, experts=8, top_k=2)
    >>> layer(x)                                              # [B, T, C] -> [B, T, C]

    shared           hidden width of the shared expert; 0 for none
    capacity_factor  in training an expert takes ⌈tokens · k / E · factor⌉ choices of each dispatch group and drops the
                     others, to which only the residual stream is left; None drops none
    groups           dispatch groups of a forward's tokens, all ranks together: whatever the ranks, the same are dropped
    balance          α of the balance loss, which each step then takes from `balance_loss`
    score, normalise, biased, dtype   the router's

    ValueError for sizes that do not fit.
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        experts: int,
        top_k: int,
        *,
        activation: Activation = "swiglu",
        shared: int = 0,
        capacity_factor: float | None = None,
        groups: int = 1,
        balance: float = 0.0,
        score: Score = "softmax",
        normalise: bool | None = None,
        biased: bool = False,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if capacity_factor is not None and not capacity_factor > 0:
            raise ValueError(
                f"capacity_factor={capacity_factor}: an expert takes ⌈tokens · k / E · factor⌉, so it is above 0; "
                "1 just holds an even load, None drops no token"
            )
        self.capacity_factor, self.groups, self.balance = capacity_factor, groups, balance
        self.router = Router(channels, experts, top_k, score=score, normalise=normalise, biased=biased, dtype=dtype)
        self.experts = Experts(channels, hidden, experts, activation)
        self.shared = Experts(channels, shared, 1, activation) if shared else None
        self.mesh, self.over_ep, self.over_tp, self.sequence = None, False, False, False
        self.passes: list[Pass] = []
        self.forget()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Redraw all weights from torch's random state, with GPT's standard deviation for this width."""
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=(2 / (5 * self.router.weight.shape[1])) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, C] -> [B, T, C]; on a rank, its part of the batch."""
        if self.sequence and not self.over_tp:  # all ranks of tp compute the same
            x = gather(x, self.mesh.group("tp"))
        routing = self.router(x.flatten(0, -2))
        whole, chosen, weights = self._entered(x, routing) if self.over_tp else (x, routing.experts, routing.weights)
        factor = self.capacity_factor if self.training else None
        plan = dispatch.plan(chosen, self.router.experts, factor, self.groups)
        if self.training and not in_backward():  # a recomputed forward was noted before
            self._note(routing, plan, len(chosen))
        tokens = whole.flatten(0, -2)
        y = self._mixed(tokens, weights, plan)
        if self.shared is not None:
            y = y + self.shared(tokens, [len(tokens)])
        return self._left(y.to(x.dtype).view_as(whole))

    def _entered(self, x: Tensor, routing: Routing) -> tuple[Tensor, Tensor, Tensor]:
        """Return the tokens [B, T, C], their experts and weights [N, k], for this rank's part of each expert.

        What it computes with them is a summand, and so are the gradients of both: the operators sum these over tp.
        """
        group, chosen, weights = self.mesh.group("tp"), routing.experts, routing.weights
        weights = weights.to(torch.promote_types(weights.dtype, x.dtype))  # float32 would round each summand (Mixtral)
        if not self.sequence:
            return copy(x, group), chosen, copy(weights, group)
        chosen, weights = (each.view(*x.shape[:-1], -1) for each in (chosen, weights))  # [B, T / tp, k]
        weights = gather_tokens(weights, group).flatten(0, -2)
        return gather_tokens(x, group), gather(chosen, group).flatten(0, -2), weights

    def _left(self, y: Tensor) -> Tensor:
        """Return the layer's output of this rank's [B, T, C]."""
        if self.over_tp:
            return (reduce_scatter if self.sequence else reduce)(y, self.mesh.group("tp"))
        return scatter(y, self.mesh.group("tp")) if self.sequence else y

    def _mixed(self, tokens: Tensor, weights: Tensor, plan: dispatch.Plan) -> Tensor:
        """Return the weighted sum of each token's experts: [N, C]."""
        n, k = weights.shape
        if torch.is_autocast_enabled(tokens.device.type):  # as the experts' products are: half the bytes on the wire
            tokens = tokens.to(torch.get_autocast_dtype(tokens.device.type))
        rows = self._computed(tokens.index_select(0, plan.choices // k), plan.counts)  # [M, C]
        each = rows.new_zeros(n * k, rows.shape[1]).index_copy(0, plan.choices, rows)  # what was dropped stays 0
        return (each.view(n, k, -1) * weights.unsqueeze(2)).sum(1)

    def _computed(self, rows: Tensor, counts: Tensor) -> Tensor:
        """Return the experts' outputs for rows [M, C], wherever the experts are."""
        if not self.over_ep:
            return self.experts(rows, counts.tolist())
        way = dispatch.find_way(counts, self.mesh.group("ep"))
        return dispatch.combine(self.experts(dispatch.dispatch(rows, way), way.counts), way)

    # ------------------------------------------------------------------ what was measured
    @torch.no_grad()
    def _note(self, routing: Routing, plan: dispatch.Plan, tokens: int) -> None:
        chosen = plan.counts + plan.dropped
        self.chosen = chosen + self.chosen.to(chosen.device)
        self.dropped = plan.dropped + self.dropped.to(chosen.device)
        self.tokens += tokens
        if self.capacity_factor is not None:
            choices = tokens * self.router.top_k // self.groups
            self.places += self.groups * dispatch.capacity(choices, self.router.experts, self.capacity_factor)
        with torch.enable_grad():
            if self.balance and routing.probabilities.requires_grad:
                mine = routing.probabilities.sum(0)
                if self.over_tp and self.sequence:
                    mine = reduce(mine, self.mesh.group("tp"))
                self.passes.append(Pass(mine, chosen, tokens))

    def forget(self) -> None:
        """Start to count anew: choices and drops of each expert, tokens, and places by capacity."""
        self.chosen = self.dropped = torch.zeros_like(self.router.weight[:, 0], dtype=torch.int64)
        self.tokens = self.places = 0

    # ------------------------------------------------------------------ split
    def split(self, mesh: Mesh, *, over_tp: bool = True, sequence: bool = False) -> MixtureOfExperts:
        """Keep this rank's part of a whole layer, the same on every rank; return the layer.

        over_tp   False leaves the experts whole on each rank of tp, which all compute the same
        sequence  x is this rank's T / tp tokens, by sequence parallelism

        ValueError where experts, hidden width or dispatch groups cannot be shared by the ranks.
        """
        if self.mesh is not None:
            raise ValueError(f"the layer is split already, over {self.mesh}")
        _check(self, mesh, over_tp)
        self.mesh, self.over_ep = mesh, mesh.degrees["ep"] > 1
        self.over_tp, self.sequence = over_tp and mesh.tp > 1, sequence and mesh.tp > 1
        if self.over_tp and self.sequence:  # each rank routes its own tokens
            place(self.router.weight, partial=(*BATCH_AXES, "tp"))
        if self.capacity_factor is not None:
            self.groups //= mesh.dp * mesh.cp
        self.experts.split(mesh, ep=self.over_ep, tp=self.over_tp)
        if self.shared is not None:
            self.shared.split(mesh, ep=False, tp=self.over_tp)
        return self


def expert_parallel(model: nn.Module, mesh: Mesh, *, over_tp: bool = True) -> nn.Module:
    """Replace each MixtureOfExperts of a model, the same on every rank, by this rank's part; return the model.

    >>> model = expert_parallel(with_experts(GPT(config), experts=8, top_k=2), Mesh(dp=4, ep=2))
    >>> loss.backward(); placement.sum_gradients(model, mesh); optimizer.step()

    Make the optimizer afterwards. ValueError for a model without one.
    """
    for layer in mixtures(model).values():
        layer.split(mesh, over_tp=over_tp)
    return model


def mixtures(model: nn.Module) -> dict[str, MixtureOfExperts]:
    """Return the model's mixtures by name, in order. ValueError where there is none."""
    found = {name: module for name, module in model.named_modules() if isinstance(module, MixtureOfExperts)}
    if not found:
        raise ValueError(f"this {type(model).__name__} has no MixtureOfExperts: with_experts(GPT(config), …) makes one")
    return found


def with_experts(model: GPT, experts: int, top_k: int, *, hidden: int | None = None, **options) -> GPT:
    """Replace each block's MLP of a GPT by a mixture, drawn from torch's random state as the GPT's is; return the GPT.

    hidden    an expert's width, 4 C by default
    options   those of MixtureOfExperts
    """
    channels, like = model.config.channels, next(model.parameters())
    for block in model.blocks:
        mixture = MixtureOfExperts(channels, hidden or 4 * channels, experts, top_k, **options)
        with torch.no_grad():
            for part in filter(None, (mixture.experts, mixture.shared)):  # they write into the residual stream
                part.down /= (2 * model.config.layers) ** 0.5
        block.mlp = mixture.to(like.device, like.dtype)
    return model


def _check(layer: MixtureOfExperts, mesh: Mesh, over_tp: bool) -> None:
    experts, ep, tp, ranks = layer.router.experts, mesh.degrees["ep"], mesh.degrees["tp"], mesh.dp * mesh.cp
    if experts % ep:
        raise ValueError(f"{experts} experts are not divisible by ep = {ep}: ep can be {_divisors(experts)}")
    widths = [part.hidden for part in (layer.experts, layer.shared) if part is not None]
    if over_tp and (odd := next((width for width in widths if width % tp), None)):
        raise ValueError(
            f"an expert's hidden width of {odd} is not divisible by tp = {tp}: tp can be {_divisors(odd)}, or "
            "over_tp=False leaves the experts whole"
        )
    if layer.capacity_factor is not None and mesh.cp > 1:
        raise ValueError(
            f"capacity_factor={layer.capacity_factor} drops within groups of whole sequences, and cp = {mesh.cp} cuts "
            "these: capacity_factor=None drops nothing"
        )
    if layer.capacity_factor is not None and layer.groups % ranks:
        raise ValueError(
            f"{layer.groups} dispatch groups are not divisible by dp × cp = {ranks} ranks, each of which needs whole "
            f"ones: groups={-(-layer.groups // ranks) * ranks} would fit"
        )


def _divisors(number: int) -> str:
    return ", ".join(str(n) for n in range(1, number + 1) if number % n == 0)
