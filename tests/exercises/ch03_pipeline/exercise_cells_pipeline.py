"""What a reader may have in the cells of exercises 03.6 to 03.14: stubs, planted bugs, mended and wrong versions."""

from __future__ import annotations

from lab_utils.exercises.ch03_pipeline.words import Loop

IMPORTS = """\
import torch
import torch.distributed as dist

from lab_utils.gpt import cross_entropy

rank, size = dist.get_rank(), dist.get_world_size()
last = size - 1

def received(like, source):
    tensor = torch.empty_like(like)
    dist.recv(tensor, source)
    return tensor

def sent(tensor, to):
    if 0 <= to <= last:
        dist.send(tensor, to)
"""

STEP_PLANTED = """
def my_step(stage, parts, like):
    kept = []
    for x, y in parts:
        x = received(like, rank - 1).requires_grad_() if rank else x
        out = stage(x)
        sent(out.detach(), rank + 1)
        kept.append((x, cross_entropy(out, y) if rank == last else out))
    for x, out in kept:
        out.backward(None if rank == last else received(like, rank + 1))
        sent(x.grad, rank - 1)
"""
STEP_MENDED = STEP_PLANTED.replace("(out, y)", "(out, y) / len(parts)")
STEP = {
    "stub": "def my_step(stage, parts, like):\n    raise NotImplementedError\n",
    "dots": "def my_step(stage, parts, like):\n    ...\n",
    "planted": STEP_PLANTED,
    "mended": STEP_MENDED,
    "divided_after": STEP_PLANTED + "    for p in stage.parameters():\n        p.grad /= len(parts)\n",
    "backwards_in_turn": STEP_MENDED.replace("in kept:", "in reversed(kept):"),
    "twice": STEP_MENDED + "    for p in stage.parameters():\n        p.grad /= len(parts)\n",
    "by_samples": STEP_PLANTED.replace("(out, y)", "(out, y) / len(x)"),
    "by_ranks": STEP_PLANTED.replace("(out, y)", "(out, y) / size"),
    "by_five": STEP_PLANTED.replace("(out, y)", "(out, y) / 5"),
    "at_each_stage": STEP_MENDED.replace("received(like, rank + 1))", "received(like, rank + 1) / len(parts))"),
    "on_the_last_only": STEP_PLANTED + (
        "    if rank == last:\n        for p in stage.parameters():\n            p.grad /= len(parts)\n"
    ),
    "last_only": STEP_MENDED.replace("    for x, out in kept:", "    for x, out in kept:\n        stage.zero_grad()"),
    "sends_x": STEP_MENDED.replace("sent(x.grad", "sent(x.detach()"),
    "one_short": STEP_MENDED.replace("in kept:", "in kept[:-1]:"),
    "no_numbers": STEP_MENDED.replace("sent(x.grad,", "sent(x.grad * float('nan') if rank else None,"),
    "stuck": STEP_MENDED.replace("        sent(x.grad, rank - 1)", "        pass"),
    "forward_only": STEP_MENDED[: STEP_MENDED.index("    for x, out")],
    "zeroed": STEP_MENDED + "    stage.zero_grad()\n",
    "middle": STEP_MENDED + "    if rank == 1:\n        stage.blocks.get_submodule('1').norm1.weight.grad *= 2\n",
}  # fmt: skip

RUN_PLANTED = """
def my_run(order, forward, backward):
    slots = [None] * max(1, size - rank - 1)
    for kind, i in order:
        if kind == "F":
            slots[i % len(slots)] = forward(i)
        else:
            backward(i, slots[i % len(slots)])
"""
RUN = {
    "stub": "def my_run(order, forward, backward):\n    raise NotImplementedError\n",
    "pass": "def my_run(order, forward, backward):\n    pass\n",
    "planted": RUN_PLANTED,
    "mended": RUN_PLANTED.replace("max(1, size - rank - 1)", "(size - rank)"),
    "a_dict": """
def my_run(order, forward, backward):
    kept = {}
    for kind, i in order:
        if kind == "F":
            kept[i] = forward(i)
        else:
            backward(i, kept.pop(i))
""",
    "two": RUN_PLANTED.replace("max(1, size - rank - 1)", "2"),
    "many": RUN_PLANTED.replace("max(1, size - rank - 1)", "6"),
    "as_many_on_each": RUN_PLANTED.replace("max(1, size - rank - 1)", "size"),
    "last_in": """
def my_run(order, forward, backward):
    kept = []
    for kind, i in order:
        kept.append(forward(i)) if kind == "F" else backward(i, kept.pop())
""",
    "all_forwards_first": """
def my_run(order, forward, backward):
    kept = {i: forward(i) for kind, i in order if kind == "F"}
    for i in kept:
        backward(i, kept[i])
""",
    "nothing_kept": RUN_PLANTED.replace("backward(i, slots[i % len(slots)])", "backward(i, None)"),
    "stops": RUN_PLANTED.replace("max(1, size - rank - 1)", "(size - rank)").replace("in order", "in order[:-1]"),
}

BACKWARD_PLANTED = """
def my_backward(layer, inputs, arrive, leave):
    waiting = []
    for i, x in enumerate(inputs):
        g = arrive(i)
        leave(i, g @ layer.weight)
        waiting.append(lambda: layer.weight.grad.add_(g.T @ x))
    for weight_gradient in waiting:
        weight_gradient()
"""
BACKWARD_MENDED = BACKWARD_PLANTED.replace("lambda:", "lambda g=g, x=x:")
BACKWARD = {
    "stub": "def my_backward(layer, inputs, arrive, leave):\n    raise NotImplementedError\n",
    "dots": "def my_backward(layer, inputs, arrive, leave):\n    ...\n",
    "planted": BACKWARD_PLANTED,
    "mended": BACKWARD_MENDED,
    "at_once": BACKWARD_PLANTED.replace("waiting.append(lambda: layer.weight.grad.add_(g.T @ x))", "waiting += [0]")
    .replace("leave(i, g @ layer.weight)", "leave(i, g @ layer.weight); layer.weight.grad += g.T @ x")
    .replace("weight_gradient()", "pass"),
    "a_list": """
def my_backward(layer, inputs, arrive, leave):
    gradients = []
    for i in range(len(inputs)):
        gradients.append(arrive(i))
        leave(i, gradients[i] @ layer.weight)
    layer.weight.grad = sum(g.T @ x for g, x in zip(gradients, inputs))
""",
    "input_late": BACKWARD_PLANTED.replace("lambda:", "lambda g=g:"),
    "gradient_late": BACKWARD_PLANTED.replace("lambda:", "lambda x=x:"),
    "transposed": BACKWARD_MENDED.replace("g.T @ x", "x.T @ g"),
    "weight_transposed": BACKWARD_MENDED.replace("g @ layer.weight)", "g @ layer.weight.T)"),
    "twice": BACKWARD_MENDED.replace("g.T @ x", "2 * g.T @ x"),
    "input_factor": BACKWARD_MENDED.replace("g @ layer.weight)", "g @ layer.weight / len(inputs))"),
    "never": BACKWARD_MENDED.replace("        weight_gradient()", "        pass"),
    "no_gradient": BACKWARD_MENDED.replace("leave(i, g @ layer.weight)", "leave(i, (g @ layer.weight)[0])"),
    "first_is_left": BACKWARD_MENDED.replace("leave(i, g @ layer.weight)", "leave(i, g @ layer.weight * (i > 0))"),
    "keeps_it": BACKWARD_MENDED.replace("leave(i, g @ layer.weight)", "g @ layer.weight"),
    "set": BACKWARD_MENDED.replace("grad.add_(", "grad.copy_("),
    "one_rank": BACKWARD_PLANTED.replace("lambda:", "lambda g=g, x=x:", 1).replace(
        "in waiting:", "in waiting[rank == 1 :]:"
    ),
}

TIED_PLANTED = """
def my_tied(stage):
    if rank == 0:
        stage.tokens.weight.grad += received(stage.tokens.weight, last)
    if rank == last:
        dist.send(stage.head.weight.grad, 0)
"""
TIED_MENDED = """
def my_tied(stage):
    if rank in (0, last):
        mine = (stage.head if rank else stage.tokens).weight
        other = last - rank
        sending = dist.isend(mine.grad.clone(), other)
        mine.grad += received(mine.grad, other)
        sending.wait()
"""
TIED = {
    "stub": "def my_tied(stage):\n    raise NotImplementedError\n",
    "pass": "def my_tied(stage):\n    pass\n",
    "planted": TIED_PLANTED,
    "mended": TIED_MENDED,
    "sent_back": TIED_PLANTED.replace("stage.tokens.weight, last)", "stage.tokens.weight.grad, last)")
    + "        dist.recv(stage.head.weight.grad, 0)\n"
    + "    if rank == 0:\n        dist.send(stage.tokens.weight.grad, last)\n",
    "a_group": """
def my_tied(stage):
    ends = dist.new_group([0, size - 1])
    if rank in (0, last):
        dist.all_reduce((stage.head if rank else stage.tokens).weight.grad, group=ends)
""",
    "copied": TIED_PLANTED.replace(".grad += received(stage.tokens.weight,", ".grad = received(stage.tokens.weight,"),
    "swapped": TIED_MENDED.replace("mine.grad +=", "mine.grad ="),
    "mean": TIED_MENDED.replace("        sending", "        sending", 1) + "        mine.grad /= 2\n",
    "nobody": "def my_tied(stage):\n    dist.barrier()\n",
    "weights_too": TIED_MENDED + "    for p in stage.parameters():\n        p.grad = p.grad * 2\n",
    "dropped": TIED_MENDED + "        mine.grad = None\n",
    "strange": TIED_MENDED + "        mine.grad[0] += 1\n",
}

MY_ORDER_MENDED = """
def my_order(rank, ranks, microbatches):
    warm_up = min(ranks - rank - 1, microbatches)
    ops = [f"F{i}" for i in range(warm_up)]
    for i in range(microbatches):
        if warm_up + i < microbatches:
            ops.append(f"F{warm_up + i}")
        ops.append(f"BW{i}")
    return " ".join(ops)
"""
MY_ORDER = {
    "stub": "def my_order(rank, ranks, microbatches):\n    raise NotImplementedError\n",
    "dots": "def my_order(rank, ranks, microbatches):\n    ...\n",
    "mended": MY_ORDER_MENDED,
    "a_list": MY_ORDER_MENDED.replace('" ".join(ops)', "ops"),
    "split": MY_ORDER_MENDED.replace('f"BW{i}"', 'f"B{i} W{i}"'),
    "few": MY_ORDER_MENDED.replace("min(ranks - rank - 1, microbatches)", "ranks - rank - 1"),
    "one_more": MY_ORDER_MENDED.replace("ranks - rank - 1", "ranks - rank"),
    "no_warm_up": MY_ORDER_MENDED.replace("min(ranks - rank - 1, microbatches)", "0"),
    "gpipe": MY_ORDER_MENDED.replace("min(ranks - rank - 1, microbatches)", "microbatches"),
    "wrong_way": MY_ORDER_MENDED.replace("ranks - rank - 1", "rank"),
    "from_one": MY_ORDER_MENDED.replace("F{warm_up + i}", "F{warm_up + i + 1}"),
    "no_end": MY_ORDER_MENDED.replace("for i in range(microbatches):", "for i in range(microbatches - warm_up):"),
    "halves": MY_ORDER_MENDED.replace('f"BW{i}"', 'f"B{i}"'),
    "numbers": MY_ORDER_MENDED.replace('" ".join(ops)', "[1, 2]"),
    "nothing": MY_ORDER_MENDED.replace("return", "ops ="),
    "raises": MY_ORDER_MENDED.replace("warm_up = min(", "warm_up = undefined("),
    "words": MY_ORDER_MENDED.replace('f"BW{i}"', 'f"back{i}"'),
}

LOOP_MENDED = Loop.reference
LOOP_PHASES = """
def my_1f1b(m, forward, backward, like):
    sending = []
    def send(tensor, to):
        if 0 <= to <= last:
            sending.append(dist.isend(tensor, to))
    warm_up = min(last - rank, m)
    for i in range(warm_up):
        send(forward(i, received(like, rank - 1) if rank else None), rank + 1)
    for i in range(warm_up, m):
        send(forward(i, received(like, rank - 1) if rank else None), rank + 1)
        send(backward(i - warm_up, received(like, rank + 1) if rank < last else None), rank - 1)
    for i in range(m - warm_up, m):
        send(backward(i, received(like, rank + 1) if rank < last else None), rank - 1)
    for work in sending:
        work.wait()
"""
LOOP = {
    "stub": "def my_1f1b(m, forward, backward, like):\n    raise NotImplementedError\n",
    "dots": "def my_1f1b(m, forward, backward, like):\n    ...\n",
    "mended": LOOP_MENDED,
    "phases": LOOP_PHASES,
    "gpipe": LOOP_MENDED.replace("min(last - rank, m)", "m - 1"),
    "one_more": LOOP_MENDED.replace("min(last - rank, m)", "min(last - rank + 1, m - 1)"),
    "no_warm_up": LOOP_MENDED.replace("min(last - rank, m)", "0"),
    "wrong_way": LOOP_MENDED.replace("min(last - rank, m)", "min(rank, m - 1)"),
    "any_size": LOOP_MENDED.replace("min(last - rank, m)", "last - rank"),
    "few": LOOP_PHASES.replace("min(last - rank, m)", "last - rank"),
    "blocking": LOOP_MENDED.replace("sending.append(dist.isend(out, rank + 1))", "dist.send(out, rank + 1)").replace(
        "sending.append(dist.isend(back, rank - 1))", "dist.send(back, rank - 1)"
    ),
    "no_cool_down": LOOP_MENDED.replace("range(m + warm_up)", "range(m)"),
    "newest_first": LOOP_PHASES.replace("backward(i - warm_up,", "backward(i,"),
    "sends_zeros": LOOP_MENDED.replace("isend(back,", "isend(0 * back,"),
    "sends_ones": LOOP_MENDED.replace("isend(out,", "isend(torch.ones_like(out),"),
    "no_input": LOOP_MENDED.replace("received(like, rank - 1) if rank else None", "None"),
    "twice": LOOP_MENDED.replace("run_forward(i)\n        if i >= ", "run_forward(0)\n        if i >= "),
}  # fmt: skip
