"""The words of the predictions of chapters 01 to 01f."""

# fmt: off


class StagesWire:  # 01.i
    goal = ("How many bytes does a rank send per step, as a multiple of plain data parallelism's: ZeRO-1, ZeRO-2 with "
        "{parts} micro-batches per step, ZeRO-3?")
    replace = "Replace the three … by your multiples, such as 0.75."
    hints = ("an all-reduce by ring is a reduce-scatter and an all-gather",
        "ZeRO-2 has no room for gradients that wait for the next micro-batch's",
        "ZeRO-3 frees a layer after its forward: when does it need it again?")
    explain = ("1, {two:g} and {three:.2f}\n"
        "ZeRO-1: a reduce-scatter and an all-gather, an all-reduce in two halves. ZeRO-2 keeps pieces of gradients "
        "only, so each micro-batch is reduce-scattered: ({parts} + 1) / 2. ZeRO-3 gathers the layers once more, for "
        "the backward: 3/2 for them, and 1 for what stays whole from forward to backward.")
    names = ("ZeRO-1", "ZeRO-2, {parts} micro-batches", "ZeRO-3")
    half = "that is the reduce-scatter alone: the updated pieces have to reach the other ranks"
    piece = "a rank keeps a quarter, and contributes to the other three quarters as well"
    more = "that is ZeRO-3's at most"
    twice = "an all-reduce already counts twice the bytes of a reduce-scatter"
    as_one = "that is ZeRO-1's, which adds up whole gradients and reduces them once"
    all_each = "only the reduce-scatter runs per micro-batch: the parameters change once per step"
    no_gather = "that is the reduce-scatters: the all-gather after the update is missing"
    as_plain = "ZeRO-1 sends that; ZeRO-3 frees the layers after their forward"
    all_twice = "the gradients are reduce-scattered once: only the parameters are gathered a second time"
    three = "that counts three transfers as one each; plain data parallelism's all-reduce counts two"


class ExposedGather:  # 01.j
    goal = ("For how many ms is a rank blocked on ZeRO-1's all-gathers, when nothing is left to compute meanwhile? P "
        "parameters in float64, 4 ranks, rings, and a link with the given latency and bandwidth.")
    replace = "Replace the … by your number of ms."
    hints = ("a ring all-gather sends (n - 1) / n of the bytes",
        "each ring takes n - 1 steps, and each step the link's latency")
    explain = ("{wire:.2f} ms for the bytes and {latency:.2f} ms of latency, {right:.2f} ms together\n"
        "The update needs the last gradient, and the gathers need the update: within the step nothing is left to hide "
        "them. The next forward could, a layer at a time; that is what implementations that overlap them do.")
    names = ("ms of exposed all-gather",)
    hidden = "the backward is over when the update runs: what would hide it?"
    no_latency = "that is the bytes alone: each ring also has n - 1 steps of latency"
    whole = "a rank has its own piece already: (n - 1) / n of the bytes"
    as_reduce = "that is an all-reduce: the other half, the reduce-scatter, ran during the backward"
    in_seconds = "give milliseconds"


class RedundancyWire:  # 01.k
    goal = ("PyTorch's ZeroRedundancyOptimizer under DDP: DDP all-reduces the gradients, each rank updates its part of "
        "the parameters and broadcasts it. How many bytes does a rank send per step on average, as a multiple of "
        "ZeRO-1's?")
    replace = "Replace the … by your multiple, such as 0.75."
    hints = ("all-reduce: 2 (n - 1) / n of the parameters' bytes; and ZeRO-1 sends as much in all",
        "each parameter is broadcast once, to n - 1 ranks")
    explain = ("{right:g} ×: the all-reduce is ZeRO-1's whole volume, and the broadcasts add half of that\n"
        "Each parameter is received by n - 1 ranks, whatever the algorithm: (n - 1) / n of the bytes per rank on "
        "average. It saves ZeRO-1's memory without ZeRO-1's reduce-scatter.")
    names = ("multiple of ZeRO-1's bytes",)
    same = "that would be a reduce-scatter and an all-gather: DDP all-reduces"
    twice = "a broadcast to n - 1 ranks sends what an all-gather of the same bytes sends, half of an all-reduce"
    broadcasts = "that is the broadcasts alone"
    all_gathers = "each parameter is broadcast by one rank, and not by all"


class Recomputed:  # 01.l
    goal = ("Recomputation keeps only a layer's input [b, T, C]. How many bytes is that per layer and rank in float32, "
        "and by what factor do the FLOPs of a step grow?")
    replace = "Replace the two … by your number of bytes and your factor."
    hints = ("a float32 has 4 bytes", "a backward computes twice what a forward does")
    explain = ("b · T · C · 4 = {bytes:,} bytes per layer, and 4/3 of the FLOPs at most\n"
        "Forward, forward again, and a backward of two forwards: 4 for 3. What is outside of the layers is not "
        "computed again, and torch stops before a layer's last product, so the factor stays below.")
    names = ("bytes per layer", "factor of the FLOPs")
    nothing = "the layer is computed again from its input, so that is kept"
    elements = "that is the number of elements; a float32 has 4 bytes"
    in_float64 = "that is float64"
    all_ranks = "that is for all ranks together; each has its part of the batch"
    same = "the layers' forward runs twice"
    twice = "only the forward runs again, which is a third of a step"
    half_of_step = "a forward is a third of a step: the backward has gradients of inputs and of weights"
