"""The words of exercise 01.20, local SGD to build."""

# fmt: off


class LocalSGD:  # 01.20
    goal = ("Write my_local_sgd(model, optimizer, batches, every): each rank trains on its own batches; after every "
        "`every` steps, and after the last step, the parameters are averaged over the ranks. The optimizer's state "
        "stays per rank, as it is.")
    replace = "Replace the body; it changes the model in place and returns nothing."
    hints = ("a step on one rank: zero_grad, forward, backward, optimizer.step; nothing of it communicates",
        "a round: one all-reduce per parameter, of parameter.detach(), by the mean",
        "when is a round due? After step 3 and 6 of 7 with every=3, and after 7")
    explain = ("parameters equal the serial simulation of local SGD on every rank\n"
        "{solution}\n"
        "Momentum stays per rank: averaging it, too, would send as much again. The last round is needed because "
        "training may end between two rounds, with a different model on each rank.")
    serial = "parameters are those of another algorithm: {why}"
    alone = "the ranks never average: each trained alone"
    each_step = "parameters, or gradients, are averaged after every step, not after every {every}"
    gradients = "every {every} steps the gradients are averaged, and never the parameters"
    unfinished = "the last, incomplete round is missing: {steps} steps with every={every} leave {left} over"
    first_round = "the rounds come too early: after steps 1 and {late}, not after steps {every} and {twice}"
    divided_twice = "the mean is divided by the number of ranks once more"
    summed = "the parameters are summed over the ranks and not divided"
    reset = "the optimizer's state is reset at each round, and it should stay as it is"
    averaged_state = "the optimizer's state is averaged, too, and it should stay per rank"
    untrained = "the parameters are those of the start: nothing was trained"
    unequal = "after the last round the ranks have unequal parameters: {name} on rank {rank} differs most"
    worst = "{name} on rank {rank} differs from the serial simulation by {relative:.1e} of its largest element"
    not_finite = "{name} on rank {rank} is not finite"
