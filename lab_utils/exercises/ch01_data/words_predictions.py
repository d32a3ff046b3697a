"""The words of the predictions of chapters 01 to 01f."""

from lab_utils.exercises.framework.words import Misses

# fmt: off


class MeanOrSum:  # 01.a
    goal = ("Plain SGD, learning rate {rate:g}, gradients summed over {n} ranks in place of averaged. By how much does "
        "a gradient differ from serial, relative to its largest element? Which learning rate restores serial?")
    replace = "Replace the two … by your numbers: the relative difference, then the learning rate."
    hints = ("what multiple of the mean is the sum? And what is left when you subtract the mean from it?",)
    explain = ("{n} × serial − serial is {difference:g} × serial; a rate of {rate:g} / {n} = {right_rate:g} undoes the "
        "factor\n"
        "SGD subtracts rate × gradient, so only the product counts. An optimizer that divides by the gradient's size, "
        "as Adam does, hides the factor.")
    names = ("relative difference of a gradient", "learning rate for the sum")
    the_factor = "that is the factor; the difference from serial is the factor less one"
    of_the_sum = "that is relative to the sum, not to serial"
    equal = "the sum is not the mean"
    same_rate = "that is the mean's rate: the sum makes each step larger"
    larger = "that makes the larger gradient larger still"


class Messages:  # 01.b
    goal = "How many messages does a step send when a bucket is closed at 0.1 MB or more?"
    replace = "Replace the … by your number of messages, to within one."
    hints = ("can one gradient be cut into two buckets?", "how many gradients are larger than 0.1 MB by themselves?")
    explain = ("{messages} messages of {mean_mb:.2f} MB on average\n"
        "0.1 MB is the least size of a bucket, and a gradient is never cut: each of the large ones closes a bucket, "
        "however far above the limit that is.")
    names = ("messages per step",)
    exact = "that is all bytes divided by 0.1 MB, but a bucket closes above it and no gradient is cut"
    one_each = "that is one message per gradient; the small ones share"


class Exposed:  # 01.c
    goal = ("How many ms of communication are exposed per step: one flat message on the fast link, the same on the "
        "slow one, and the three buckets on the fast one?")
    replace = "Replace the three … by your numbers of ms, to within a tenth."
    hints = ("a ring all-reduce on n ranks sends 2 (n - 1) chunks, one after the other",
        "on the fast link a bucket completes before the next one is full: which one cannot?")
    explain = ("{fast_ms:.3g} ms, {slow_ms:.3g} ms and {bucket_ms:.3g} ms\n"
        "6 latencies and 6 chunks, a quarter of the bytes each: 6 · {latency_us:g} µs + 1.5 · bytes / bandwidth. The "
        "flat message is exposed whole; of the buckets only the last, if the backward takes long enough to hide the "
        "others.")
    names = ("flat, fast link", "flat, slow link", "buckets, fast link")
    once = "that sends the bytes once; a ring sends 1.5 times as many on 4 ranks"
    bits = "a link of 10 Gb/s carries 1.25 GB per second"
    in_seconds = "give milliseconds"
    other_link = "that is the other link"
    all_of_it = "that is the flat message; the buckets before the last are hidden"
    nothing = "the last bucket is full only when the backward ends"


class Factors:  # 01.d
    goal = ("By what factor do gradients exceed serial's: each rank's loss a mean over its shard, gradients summed "
        "over {n} ranks; and each rank's loss a sum over its blocks, gradients summed, {blocks} blocks in all?")
    replace = "Replace the two … by your numbers: means summed, then sums summed."
    hints = ("serial's loss is a mean over the batch: what does each of the two leave out?",)
    explain = ("{n} and {blocks}\n"
        "A mean over ranks of means over equal shards is the batch's mean. Without the first division the factor is "
        "the number of ranks; without either it is the number of blocks in the batch.")
    names = ("means summed", "sums summed")
    none = "that would be serial's gradient: which division is missing?"
    per_block = "that is the number of blocks; here each shard's loss is divided by its own"
    per_rank = "that is the number of ranks; here nothing is divided by the shard's blocks either"
    per_shard = "that is the number of blocks per rank, and there are several ranks"
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
