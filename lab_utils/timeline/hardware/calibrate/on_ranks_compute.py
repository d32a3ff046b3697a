"""Compute benchmarks of `this_machine`, run on every rank: the kernels of a training step, each timed and counted.

This package does not import torch; the functions below take it from sys.modules, as a rank has it loaded.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

Tensors = list  # of torch.Tensor


class Shape(NamedTuple):
    """Sizes of a transformer step: batch × sequence tokens, channels, layers, vocabulary (words)."""

    batch: int
    sequence: int
    channels: int
    layers: int
    words: int = 256
    heads: int = 4


SHAPES = (Shape(8, 64, 128, 2), Shape(4, 64, 256, 2), Shape(16, 32, 192, 2))  # of the steps that `this_machine` times


class Took(NamedTuple):
    """Totals of one kind of kernel in a step, counted as recordings count, and their seconds."""

    flops: int
    bytes: int
    kernels: int
    seconds: float


def compute_seconds(shape: Shape, rounds: int) -> list[dict[str, Took]]:
    """Per round, the totals of a step for kernels with FLOPs ("products") and "others"; all ranks start together."""
    torch = sys.modules["torch"]
    with torch.no_grad():
        step = Step(torch, shape)
        step.run()  # warm-up: allocates memory from the system
        return [step.after_a_barrier() for _ in range(rounds)]


def launch_seconds(rounds: int, often: int = 200) -> list[float]:
    """Seconds per round of an almost empty kernel, called through autograd."""
    torch = sys.modules["torch"]
    x, weight = torch.ones(1), torch.ones(1, requires_grad=True)
    taken = []
    for _ in range(rounds + 1):
        torch.distributed.barrier()
        began_s = time.perf_counter()
        y = weight
        for _ in range(often):
            y = y * x
        torch.autograd.grad(y, weight)
        taken.append((time.perf_counter() - began_s) / (2 * often))  # a product forward, and one backward
    return taken[1:]


class Step:
    """Forward, backward and AdamW of a transformer without autograd, with separate tensors per layer."""

    def __init__(self, torch: Any, shape: Shape) -> None:
        self.torch, self.shape, c = torch, shape, shape.channels
        torch.manual_seed(0)
        draw = lambda *size: torch.randn(size) / c**0.5  # noqa: E731 - said eight times below
        self.layers = [
            [draw(c, c), draw(c, c), draw(c, c), draw(c, c), draw(c, 4 * c), draw(4 * c, c)]
            for _ in range(shape.layers)
        ]
        self.head, self.scale, self.x = draw(c, shape.words), torch.ones(c), draw(shape.batch * shape.sequence, c)
        self.state = [[torch.zeros_like(each) for each in (weight, weight)] for weight in self._weights()]
        self.took: dict[str, list[float]] = {}

    def after_a_barrier(self) -> dict[str, Took]:
        self.torch.distributed.barrier()
        return self.run()

    def run(self) -> dict[str, Took]:
        self.took = {"products": [0, 0, 0, 0.0], "others": [0, 0, 0, 0.0]}
        kept, x = [], self.x
        for layer in self.layers:
            x = self._forward(layer, x, kept)
        grad, grads = self._loss(x)
        for layer in reversed(self.layers):
            grad = self._backward(layer, grad, kept.pop(), grads)
        self._update(grads)
        return {kind: Took(*took) for kind, took in self.took.items()}

    # ------------------------------------------------------------------ kernels
    def _kernel(self, call: Callable, *args: Any, flops: int = 0, updates: int = 0, **kwargs: Any) -> Any:
        """Call a kernel and add up its time and the bytes of its inputs and of its outputs or updates."""
        began_s = time.perf_counter()
        out = call(*args, **kwargs)
        took_s = time.perf_counter() - began_s
        took = self.took["products" if flops else "others"]
        made = () if updates else out if isinstance(out, tuple) else (out,)
        size = _bytes(args) + _bytes(made) + updates
        for at, amount in enumerate((flops, size, 1, took_s)):
            took[at] += amount
        return out

    def _product(self, a: Any, b: Any) -> Any:
        """a [m, k] @ b [k, n]"""
        return self._kernel(self.torch.mm, a, b, flops=2 * a.shape[0] * a.shape[1] * b.shape[1])

    def _add(self, a: Any, b: Any) -> Any:
        return self._kernel(self.torch.add, a, b)

    def _norm(self, x: Any) -> tuple:
        """x → normalised, mean, 1 / deviation"""
        return self._kernel(self.torch.native_layer_norm, x, x.shape[1:], self.scale, self.scale, 1e-5)

    def _norm_backward(self, grad: Any, x: Any, norm: tuple) -> Any:
        call, mask = self.torch.ops.aten.native_layer_norm_backward, [True, True, True]
        return self._kernel(call, grad, x, x.shape[1:], norm[1], norm[2], self.scale, self.scale, mask)[0]

    def _heads(self, x: Any) -> Any:
        """[batch × sequence, channels] → [batch, heads, sequence, channels per head]"""
        s = self.shape
        return x.view(s.batch, s.sequence, s.heads, -1).transpose(1, 2)

    def _attention_flops(self, products: int) -> int:
        s = self.shape
        return products * 2 * s.batch * s.sequence**2 * s.channels

    # ------------------------------------------------------------------ a step
    def _forward(self, layer: Tensors, x: Any, kept: list) -> Any:
        query, key, value, out, up, down = layer
        norm = self._norm(x)
        qkv = [self._heads(self._product(norm[0], weight)) for weight in (query, key, value)]
        call = self.torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        mixed, logs = self._kernel(call, *qkv, 0.0, True, flops=self._attention_flops(2))
        flat = mixed.transpose(1, 2).reshape(x.shape)
        middle = self._add(x, self._product(flat, out))
        second = self._norm(middle)
        wide = self._product(second[0], up)
        active = self._kernel(self.torch.nn.functional.gelu, wide)
        kept.append((x, norm, qkv, mixed, logs, flat, middle, second, wide, active))
        return self._add(middle, self._product(active, down))

    def _loss(self, x: Any) -> tuple[Any, Tensors]:
        """Gradients of the last layer's output and of the head."""
        logs = self._kernel(self.torch.log_softmax, self._product(x, self.head), 1)
        grad = self._kernel(self.torch.exp, logs)
        return self._product(grad, self.head.t()), [self._product(x.t(), grad)]

    def _backward(self, layer: Tensors, grad: Any, kept: tuple, grads: Tensors) -> Any:
        query, key, value, out, up, down = layer
        x, norm, qkv, mixed, logs, flat, middle, second, wide, active = kept
        grads.append(self._product(active.t(), grad))
        inner = self._kernel(self.torch.ops.aten.gelu_backward, self._product(grad, down.t()), wide)
        grads.append(self._product(second[0].t(), inner))
        inner = self._norm_backward(self._product(inner, up.t()), middle, second)
        grad = self._add(grad, inner)
        grads.append(self._product(flat.t(), grad))
        call = self.torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
        inner = self._heads(self._product(grad, out.t()))
        of_heads = self._kernel(call, inner, *qkv, mixed, logs, 0.0, True, flops=self._attention_flops(5))
        of_heads = [each.transpose(1, 2).reshape(x.shape) for each in of_heads]
        grads += [self._product(norm[0].t(), each) for each in reversed(of_heads)]
        parts = [self._product(each, weight.t()) for each, weight in zip(of_heads, (query, key, value), strict=True)]
        inner = self._norm_backward(self._add(self._add(*parts[:2]), parts[2]), x, norm)
        return self._add(grad, inner)

    def _update(self, grads: Tensors) -> None:
        """AdamW with a learning rate of 0, so that every round computes the same numbers."""
        for weight, grad, (first, second) in zip(self._weights(), grads, self.state, strict=True):
            self._in_place(weight.mul_, 1.0)
            self._in_place(first.lerp_, grad, 0.1)
            self._in_place(second.mul_, 0.999)
            self._in_place(second.addcmul_, grad, grad, value=0.001)
            root = self._kernel(self.torch.sqrt, second)
            self._in_place(root.add_, 1e-8)
            self._in_place(weight.addcdiv_, first, root, value=0.0)

    def _in_place(self, call: Callable, *args: Any, **kwargs: Any) -> None:
        self._kernel(call, *args, updates=2 * call.__self__.nbytes, **kwargs)

    def _weights(self) -> Tensors:
        """The weights in backward order."""
        return [self.head, *(weight for layer in reversed(self.layers) for weight in reversed(layer))]


def _bytes(values: Iterable[Any]) -> int:
    return sum(value.nbytes for value in values if hasattr(value, "nbytes"))
