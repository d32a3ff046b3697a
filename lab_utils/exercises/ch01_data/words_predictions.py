"""The words of the predictions of chapters 01 to 01f."""

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
