"""What a reader may have in the cell of exercise 01.20: stubs, right and wrong versions of local SGD."""

from __future__ import annotations

from functools import partial

import exercise_runs

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
changed = partial(exercise_runs.changed, SOLUTION)


def after_round(line: str) -> str:
    return changed((ROUND, ROUND + f"            {line}\n"))


LOCAL_SGD = {
    "stub": "def my_local_sgd(model, optimizer, batches, every):\n    raise NotImplementedError\n",
    "dots": "def my_local_sgd(model, optimizer, batches, every):\n    ...\n",
    "right": SOLUTION,
    "in_one_message": changed(
        (
            ROUND,
            """            flat = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
            dist.all_reduce(flat)
            torch.nn.utils.vector_to_parameters(flat / dist.get_world_size(), model.parameters())
""",
        )
    ),
    "gradients": changed((ROUND, "            pass\n"), ("        optimizer.step()\n", EARLY.replace("DUE", DUE))),
    "each_step": changed((DUE, "True")),
    "gradients_each_step": changed(
        (ROUND, "            pass\n"), ("        optimizer.step()\n", EARLY.replace("DUE", "True"))
    ),
    "unfinished": changed((DUE, "step % every == 0")),
    "counted_from_0": changed(("enumerate(batches, 1)", "enumerate(batches)"), ("len(batches)", "len(batches) - 1")),
    "divided_twice": changed(
        ("ReduceOp.AVG)", "ReduceOp.AVG)\n                parameter.detach().div_(dist.get_world_size())")
    ),
    "summed": changed((", dist.ReduceOp.AVG", "")),
    "reset": after_round("optimizer.state.clear()"),
    "averaged_state": after_round(
        "[dist.all_reduce(each['momentum_buffer'], dist.ReduceOp.AVG) for each in optimizer.state.values()]"
    ),
    "alone": changed((ROUND, "            pass\n")),
    "untrained": changed(("        optimizer.step()\n", "")),
    "one_tensor": changed(("model.parameters():", "list(model.parameters())[1:]:")),
    "piles_up": changed(("        optimizer.zero_grad()\n", "")),
    "rank_0_only": changed((DUE, f"dist.get_rank() == 0 and ({DUE})")),
}
