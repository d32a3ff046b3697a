"""The words of the predictions of chapters 01 to 01f."""

from lab_utils.exercises.framework.words import Misses

# fmt: off


class AccumulatedBytes(Misses):  # 01.e
    goal = ("P parameters in float64, m micro-batches per rank and step: how many bytes of gradients does each rank "
        "put into all-reduces per step, with one aggregation, and with one after every micro-batch?")
    replace = "Replace the two … by numbers of bytes."
    hints = ("how large is the gradient of a micro-batch?", "what does a second backward do to .grad?")
    explain = ("8 P = {once:,} bytes once; {m} times that, {each:,}, with an aggregation after every micro-batch\n"
        "A gradient is as large as the model, however few blocks it comes from. Gradients add up in .grad, so one "
        "aggregation of the sum suffices.")
    names = ("aggregated once", "after every micro-batch")
    every_time = "that is an aggregation after every micro-batch"
    part = "a micro-batch has a part of the blocks, and its gradient is as large as the model"
    ring = "that is what a ring sends; the question is what is put into the all-reduces"
    no_sync = "that is one aggregation: here there is one per micro-batch"


class LossWeights(Misses):  # 01.f
    goal = "By what must each rank's mean loss be multiplied, so that the mean over the ranks is the batch's mean?"
    replace = "Replace the … by one weight per rank, rank 0 first."
    hints = ("how much does one block weigh in its rank's mean?", "and the rank's mean in the mean over ranks?")
    explain = ("n b / B, with b of the batch's B blocks on one of n ranks: {weights}\n"
        "The mean over ranks divides by n, the rank's own mean by b; the batch's mean divides by B.")
    names = ("rank 0", "rank 1", "rank 2", "rank 3")
    share = "that is its share of the blocks: the mean over ranks then divides by n as well"
    blocks = "that is its number of blocks: they have to be divided by the number per rank on average"


class EpochSteps(Misses):  # 01.g
    goal = "Each rank takes {each} of its own blocks per step: how many steps is an epoch, by range and by rendezvous?"
    replace = "Replace the two … by numbers of steps: range, then rendezvous."
    hints = ("who finishes last?", "a last step with fewer blocks is a step, too")
    explain = ("{range} and {rendezvous}\n"
        "The fullest rank sets the number of steps: {fullest} blocks take it {rendezvous} steps, {more:.0%} more than "
        "by range, and the others wait for it.")
    names = ("range", "rendezvous")
    emptiest = "that is when the emptiest rank is done: the others still have blocks"
    whole_only = "the last blocks of the fullest rank do not fill a step, and are read all the same"
    by_mean = "that is for the mean number of blocks: the fullest rank has more"
    one_by_one = "that is one block per step"
    all_blocks = "that is for one rank: each has its own blocks"


class ReplicasApart(Misses):  # 01.h
    goal = ("Every rank draws its own initial weights, then all train with the same optimizer on averaged gradients: "
        "how far apart are the replicas afterwards, as a multiple of how far apart they were before?")
    replace = "Replace the … by a factor: 1 for as far as before."
    hints = ("what is the update on each rank?", "what is then the difference of two replicas?")
    explain = ("1: every rank adds the same update, so the difference of two replicas stays what it was\n"
        "Averaging gradients keeps equal replicas equal. Only a broadcast, or a mean of the parameters, makes unequal "
        "ones equal.")
    names = ("distance after / before",)
    pulled = "averaged gradients do not average the parameters"
    averaged = "the gradients are divided by n, the difference between the replicas is not"
    apart = "all ranks make the same update: nothing drives them apart"
