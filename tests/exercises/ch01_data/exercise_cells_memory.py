"""What a reader may have in the cells of the memory exercises: stubs, planted bugs, mended and wrong versions."""

from __future__ import annotations

IMPORTS = "import torch\nimport torch.distributed as dist\n"

ZERO_PLANTED = """
def my_zero1(model, piece, optimizer, x, y):
    model.zero_grad()
    _, loss = model(x, y)
    loss.backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
    dist.reduce_scatter_single(piece.grad, gradient, dist.ReduceOp.AVG)
    optimizer.step()
    whole = torch.cat([p.detach().flatten() for p in model.parameters()])
    whole.chunk(dist.get_world_size())[dist.get_rank()].copy_(piece.detach())
    torch.nn.utils.vector_to_parameters(whole, model.parameters())
    return loss.detach()
"""
OWN = "    whole.chunk(dist.get_world_size())[dist.get_rank()].copy_(piece.detach())\n"
ZERO_MENDED = ZERO_PLANTED.replace(OWN, "    dist.all_gather_single(whole, piece.detach())\n")
ZERO = {
    "stub": "def my_zero1(model, piece, optimizer, x, y):\n    raise NotImplementedError\n",
    "dots": "def my_zero1(model, piece, optimizer, x, y):\n    ...\n",
    "planted": ZERO_PLANTED,
    "mended": ZERO_MENDED,
    "by_list": ZERO_PLANTED.replace(
        OWN, "    dist.all_gather(list(whole.chunk(dist.get_world_size())), piece.detach())\n"
    ),
    "by_all_reduce": ZERO_PLANTED.replace(OWN, "    whole.zero_()\n" + OWN + "    dist.all_reduce(whole)\n"),
    "gathered_before": ZERO_MENDED.replace("    optimizer.step()\n", "").replace(
        "    torch.nn.utils.vector", "    optimizer.step()\n    torch.nn.utils.vector"
    ),
    "not_written_back": ZERO_MENDED.replace("    torch.nn.utils.vector_to_parameters(whole, model.parameters())\n", ""),
    "summed": ZERO_MENDED.replace("gradient, dist.ReduceOp.AVG", "gradient"),
    "no_update": ZERO_MENDED.replace("    optimizer.step()\n", ""),
    "own_gradient": ZERO_MENDED.replace(
        "dist.reduce_scatter_single(piece.grad, gradient, dist.ReduceOp.AVG)",
        "piece.grad.copy_(gradient.chunk(dist.get_world_size())[dist.get_rank()])",
    ),
    "averaged": ZERO_PLANTED.replace(OWN, OWN + "    dist.all_reduce(whole, dist.ReduceOp.AVG)\n"),
    "piles_up": ZERO_MENDED.replace("    model.zero_grad()\n", ""),
    "no_loss": ZERO_MENDED.replace("    return loss.detach()\n", ""),
    "raises": ZERO_MENDED.replace("    loss.backward()\n", "    loss.backwards()\n"),
}

CLIP_PLANTED = """
def my_clip(pieces, max_norm):
    return torch.nn.utils.clip_grad_norm_(pieces, max_norm)
"""
CLIP_MENDED = """
def my_clip(pieces, max_norm):
    norm = torch.stack([piece.grad.norm() for piece in pieces]).norm()
    square = norm**2
    dist.all_reduce(square)
    norm = square.sqrt()
    for piece in pieces:
        piece.grad *= (max_norm / (norm + 1e-6)).clamp(max=1.0)
    return norm
"""
CLIP = {
    "stub": "def my_clip(pieces, max_norm):\n    raise NotImplementedError\n",
    "dots": "def my_clip(pieces, max_norm):\n    return ...\n",
    "planted": CLIP_PLANTED,
    "mended": CLIP_MENDED,
    "lab": "from lab_utils.strategies.clipping import clip as my_clip\n",
    "a_number": CLIP_MENDED.replace("return norm", "return norm.item()"),
    "norms_summed": CLIP_MENDED.replace("norm**2", "norm.clone()").replace("square.sqrt()", "square"),
    "no_root": CLIP_MENDED.replace("square.sqrt()", "square"),
    "largest": CLIP_MENDED.replace("all_reduce(square)", "all_reduce(square, dist.ReduceOp.MAX)"),
    "always": CLIP_MENDED.replace(".clamp(max=1.0)", ""),
    "nothing": CLIP_MENDED.replace(
        "        piece.grad *= (max_norm / (norm + 1e-6)).clamp(max=1.0)\n", "        pass\n"
    ),
    "by_value": CLIP_MENDED.replace(
        "        piece.grad *= (max_norm / (norm + 1e-6)).clamp(max=1.0)\n", "        piece.grad.clamp_(-0.1, 0.1)\n"
    ),
    "own_norm": CLIP_MENDED.replace("return norm", "return torch.stack([p.grad.norm() for p in pieces]).norm()"),
    "no_norm": CLIP_MENDED.replace("    return norm\n", ""),
}
