"""What a reader may have in the cell of exercise 01.20: stubs, right and wrong versions of local SGD."""

from __future__ import annotations

from lab_utils.exercises.ch01_data.wire.judge import explained

SOLUTION = "\n" + explained()["solution"] + "\n"
DUE = "step % every == 0 or step == len(batches)"
ROUND = """            for parameter in model.parameters():
                dist.all_reduce(parameter.detach(), dist.ReduceOp.AVG)
"""
EARLY = """        if DUE:
            for parameter in model.parameters():
                dist.all_reduce(parameter.grad, dist.ReduceOp.AVG)
        optimizer.step()
"""
assert DUE in SOLUTION and ROUND in SOLUTION


def instead(old: str, new: str) -> str:
    assert old in SOLUTION
    return SOLUTION.replace(old, new)


def after_round(line: str) -> str:
    return instead(ROUND, ROUND + f"            {line}\n")


LOCAL_SGD = {
    "stub": "def my_local_sgd(model, optimizer, batches, every):\n    raise NotImplementedError\n",
    "dots": "def my_local_sgd(model, optimizer, batches, every):\n    ...\n",
    "right": SOLUTION,
    "in_one_message": instead(
        ROUND,
        """            flat = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
            dist.all_reduce(flat)
            torch.nn.utils.vector_to_parameters(flat / dist.get_world_size(), model.parameters())
""",
    ),
    "gradients": instead(ROUND, "            pass\n").replace("        optimizer.step()\n", EARLY.replace("DUE", DUE)),
    "each_step": instead(DUE, "True"),
    "gradients_each_step": instead(ROUND, "            pass\n").replace(
        "        optimizer.step()\n", EARLY.replace("DUE", "True")
    ),
    "unfinished": instead(DUE, "step % every == 0"),
    "counted_from_0": instead("enumerate(batches, 1)", "enumerate(batches)").replace(
        "len(batches)", "len(batches) - 1"
    ),
    "divided_twice": instead(
        "ReduceOp.AVG)", "ReduceOp.AVG)\n                parameter.detach().div_(dist.get_world_size())"
    ),
    "summed": instead(", dist.ReduceOp.AVG", ""),
    "reset": after_round("optimizer.state.clear()"),
    "averaged_state": after_round(
        "[dist.all_reduce(each['momentum_buffer'], dist.ReduceOp.AVG) for each in optimizer.state.values()]"
    ),
    "alone": instead(ROUND, "            pass\n"),
    "untrained": instead("        optimizer.step()\n", ""),
    "one_tensor": instead("model.parameters():", "list(model.parameters())[1:]:"),
    "piles_up": instead("        optimizer.zero_grad()\n", ""),
    "rank_0_only": instead(DUE, f"dist.get_rank() == 0 and ({DUE})"),
}
