"""What a reader may have in the cell of chapter 01e's code exercise: planted, mended and wrong versions."""

from __future__ import annotations

PLANTED = """
def my_compress(gradient, kept, k):
    wanted = gradient + kept
    largest = wanted.flatten().abs().topk(k).indices
    sent = torch.zeros_like(gradient)
    sent.view(-1)[largest] = wanted.flatten()[largest]
    return sent, gradient - sent
"""
MENDED = PLANTED.replace("gradient - sent", "wanted - sent")
COMPRESS = {
    "stub": "def my_compress(gradient, kept, k):\n    raise NotImplementedError\n",
    "dots": "def my_compress(gradient, kept, k):\n    ...\n",
    "planted": PLANTED,
    "mended": MENDED,
    "by_mask": """
def my_compress(gradient, kept, k):
    kept += gradient
    smallest = kept.abs().flatten().sort(descending=True).values[k - 1]
    sent = torch.where(kept.abs() >= smallest, kept, torch.zeros(()).double())
    return sent, kept - sent
""",
    "drops": MENDED.replace("wanted - sent", "torch.zeros_like(sent)"),
    "twice": MENDED.replace("gradient + kept", "gradient + 2 * kept"),
    "keeps_all": MENDED.replace("wanted - sent", "wanted"),
    "sign": MENDED.replace("wanted - sent", "sent - wanted"),
    "everything": MENDED.replace("topk(k)", "topk(wanted.numel())"),
    "one": MENDED.replace("topk(k)", "topk(1)"),
    "smallest": MENDED.replace("topk(k)", "topk(k, largest=False)"),
    "of_the_gradient": MENDED.replace("wanted.flatten().abs()", "gradient.flatten().abs()"),
    "halves": MENDED.replace("wanted - sent", "0.5 * (wanted - sent)"),
    "one_rank": MENDED.replace("wanted - sent", "(gradient if dist.get_rank() == 2 else wanted) - sent"),
    "one_tensor": MENDED.replace("wanted - sent", "(gradient if k == 1 else wanted) - sent"),
    "only_sent": MENDED.replace("sent, wanted - sent", "sent"),
    "list": MENDED.replace("wanted - sent", "[wanted - sent]"),
    "flat": MENDED.replace("wanted - sent", "(wanted - sent).flatten()"),
}
