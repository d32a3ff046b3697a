"""The words of exercise 01.18, ZeRO-3 within a memory limit."""

# fmt: off


class WithinMemory:  # 01.18
    goal = "Write my_zero3(pieces, x, y): ZeRO-3's forward and backward by hand, within a memory limit."
    replace = "Replace the body: fill each piece.grad, and return the loss."
    hints = ("forward: gather one weight, compute, free it, and keep only the layer's input",
        "backward: gather the weight again, compute the layer again from its input, and torch.autograd.grad gives the "
        "gradients of weight and input",
        "a tensor's bytes are freed when nothing refers to them: not a name, a view, a list, nor an autograd graph")
    explain = ("loss and gradients equal serial, and no rank exceeded the limit\n"
        "{solution}\n"
        "A name keeps its tensor until it is deleted or assigned again: without `del` the next gather begins while the "
        "last layer's weight and gradient are still there, three layers' worth in all. An autograd graph over the "
        "whole forward keeps every weight; FSDP frees the storages under that graph, and fills them again in the "
        "backward.")

    # Raised on the rank whose limit it is.
    over = "{layers:g} layers' worth of whole tensors at once, and the limit is {limit:g}: {what}"
    weight = "layer {layer}'s weight"
    others = ("1 other (a gradient, a copy, or the next gather)", "{count} others (gradients, copies, the next gather)")
    joined = "{names} and {last}"
    freed = "{what} is used after its memory was freed"
    some_weight = "a weight"

    uneven = "{channels} rows cannot be shared out evenly among {ranks} ranks: check it on 2, 3, 4, 6 or 8"
    no_loss = "{type} came back on rank {rank}: return the loss"
    nan = ("the loss on rank {rank} is not a number: a weight was read before it was filled (an asynchronous gather "
        "needs a wait)")
    order = ("the loss on rank {rank} is that of weights whose rows come from the ranks in the order {order}: rank r's "
        "rows are the r-th part")
    loss = "the loss on rank {rank} is {loss:.6f}, and on its shard it should be {wanted:.6f}"
    changed = "layer {layer}'s piece has changed on rank {rank}: forward and backward only read it"
    nothing = "layer {layer}'s gradient on rank {rank} is still 0: its rows of the mean over ranks belong in piece.grad"
    own = "layer {layer}'s gradient on rank {rank} is that of its own shard alone: nothing of other ranks is in it"
    times = "layer {layer}'s gradient on rank {rank} is {factor:.2f} × serial's{why}"
    sum_over_ranks = ": a sum over the ranks where a mean belongs"
    rows = "layer {layer}'s gradient on rank {rank} is that of rank {other}'s rows"
    wrong = "layer {layer}'s gradient on rank {rank} differs from serial's by {difference:.2g} relative"
    alike = "so it is in {wrong} of {all} layers and ranks"
    left = "after the step rank {rank} still has {what}: free everything, the next step gathers again"
