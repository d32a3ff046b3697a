"""The words of exercise 01.16."""

# fmt: off


class Hook:  # 01.16
    goal = ("Write my_buckets(model, least_bytes): hooks that send gradients in buckets while the backward runs, and "
        "finish() for what comes after it.")
    replace = ("Replace the body: register the hooks and return finish. Buckets have at least least_bytes, but for the "
        "last; after finish() every .grad is serial's.")
    hints = ("parameter.register_post_accumulate_grad_hook(ready) calls ready(parameter) once its .grad is complete",
        "dist.all_reduce(flat, async_op=True) returns at once; keep what it returns, and call its wait() in finish()",
        "which gradients are in no bucket that became full?")
    explain = ("gradients equal serial's over two backwards, and buckets are sent while the backward runs\n"
        "A hook must never block: the backward that hides the message would wait with it. finish() sends the last, "
        "partly filled bucket, waits for all, and copies the means back. All ranks run the same graph, so their "
        "gradients become ready in the same order; where that can differ, the order of sending has to be fixed, as in "
        "Buckets and DDP. One right answer:\n{solution}")
    strange = "my_buckets returned {type} on rank {rank}: return finish, a function without arguments"
    nothing = "rank {rank} sends nothing: all_reduce has to be called for each bucket"
    blocks = ("rank {rank} blocks inside the backward: it waits for message {number} of {messages} while {left:.0%} "
        "of the backward's FLOPs are still to do")
    late = "only {early} of rank {rank}'s {messages} messages are sent while the backward still computes"
    unwaited = ("rank {rank} never waits for message {number} of {messages}: the optimizer could read a bucket that is "
        "still in flight")
    many = ("rank {rank} sends {messages} messages per step: {bytes:,} bytes in buckets of at least {least:,} are at "
        "most {most}")
    small = "rank {rank} sends a bucket of {bytes:,} bytes: only the last one may have fewer than {least:,}"
    much = "rank {rank} sends {sent:,} bytes per step, and its gradients have {bytes:,}: what is sent twice?"
    order = "the ranks do not send the same buckets in the same order"
    lost = "rank {rank} has no gradient of {name} after finish()"
    sums = "gradients are {factor:.2f} × serial{why}"
    sum_over_ranks = ": a sum where a mean belongs"
    ranks_twice = ": divided by the number of ranks once too often"
    own = "every rank keeps the gradients of its own shard: what came back is not copied into .grad"
    partial = ("{names} keep each rank's own gradient: their bucket was not full when the backward ended, and was "
        "never sent")
    second = "the first backward's gradients equal serial and the second's do not: what is left over from the first?"
    worst = "the gradient of {name} on rank {rank} differs most from serial, by {difference:.2g} relative"
