"""The words of the exercise in which the reader writes a parameter server."""

# fmt: off


class MyServer:  # 01.19
    goal = ("Write my_server(model, optimizer, x, y), a step with rank 0 as a parameter server, by send and receive: "
        "after it every rank has serial's parameters.")
    replace = "Replace the body. Rank 0 gets None for x and y; the workers' shards have different sizes."
    hints = ("write the messages of both sides in order: each send needs its receive on the other side",
        "the loss is a mean over the batch: what part of the batch's gradient is a worker's?",
        "a worker can send its number of samples along: torch.cat([gradient * samples, ...])")
    explain = ("every rank has serial's parameters after {steps} steps, and each worker's link carried the gradients "
        "once and the parameters once per step\n"
        "A worker sends its gradient times its samples, and how many these are: the server adds up both, and divides. "
        "One way to write it:\n"
        "{solution}")
    sizes = "the workers' shards: {sizes} of {batch} blocks"
    unchanged = "rank 0's parameters are the same before and after step {step}: its optimizer must update them"
    weights = "the server's update is {terms}, and serial's is {wanted}{why}"
    term = "{weight:.4g} × worker {worker}'s gradient"
    left_out = ": {workers} left out"
    mean_of_means = ": a mean of means, and the shards differ in size"
    over_ranks = ": divided by {n} ranks, and the server has no shard"
    no_division = ": a sum where a mean belongs"
    left_over = ("step 0 equals serial and step {step} does not: what did the step before leave in the gradients, or "
        "in the optimizer?")
    elsewhere = "rank 0's update in step {step} is no sum of the workers' gradients: is each in its place?"
    stale = "rank {rank} has the parameters of before step {step}: they were sent before the server's update"
    own_update = "rank {rank} updated the parameters that it received in step {step} again, by its own gradient"
    unlike = "rank {rank} has other parameters than rank 0 after step {step}: {name} differs most, by {largest:.2g}"
    collectives = "the parameters are right, but {names} did the work: use send and receive only"
    sideways = "the parameters are right, but rank {rank} sent to rank {peer}: workers talk to the server only"
    pushed = "worker {worker} sent {found:,} bytes per step, and its gradients have {wanted:,}"
    pulled = "rank 0 sent worker {worker} {found:,} bytes per step, and the parameters have {wanted:,}"
