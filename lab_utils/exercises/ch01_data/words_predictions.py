"""The words of the predictions of chapters 01 to 01f."""

from lab_utils.exercises.framework.words import Misses

# fmt: off


# ---------------------------------------------------------------------- 01
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
    goal = "How many messages does a step send when a bucket is closed at {least_mb:g} MB or more?"
    replace = "Replace the … by your number of messages, to within one."
    hints = ("can one gradient be cut into two buckets?", "how many gradients are larger than that by themselves?")
    explain = ("{messages} messages of {mean_mb:.2f} MB on average\n"
        "{least_mb:g} MB is the least size of a bucket, and a gradient is never cut: each of the large ones closes a "
        "bucket, however far above the limit that is.")
    names = ("messages per step",)
    exact = "that is all bytes divided by {least_mb:g} MB, but a bucket closes above it and no gradient is cut"
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


# ---------------------------------------------------------------------- 01b
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
    goal = ("What does accumulate's factor come to on each rank, with its whole shard as one micro-batch, and why is "
        "the mean over the ranks then the batch's?")
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


# ---------------------------------------------------------------------- 01c
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
        "each ring takes n - 1 rounds, and each round the link's latency")
    explain = ("{wire:.2f} ms for the bytes and {latency:.2f} ms of latency, {right:.2f} ms together\n"
        "The update needs the last gradient, and the gathers need the update: within the step nothing is left to hide "
        "them. The next forward could, a layer at a time; that is what implementations that overlap them do.")
    names = ("ms of exposed all-gather",)
    hidden = "the backward is over when the update runs: what would hide it?"
    no_latency = "that is the bytes alone: each ring also has n - 1 rounds of latency"
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


class Recomputed:  # 01.x
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


# ---------------------------------------------------------------------- 01d
class MoreWorkers:  # 01.m
    goal = ("GPT-2's gradients on links of 100 Gb/s: how many times longer does communication take with {many} "
        "workers than with {few}, with a server, and in a ring?")
    replace = "Replace the two … by your factors: the server's, then the ring's."
    hints = ("count the bytes that pass the server's link in one direction",
        "in a ring each rank sends 2(n - 1)/n times the gradients")
    explain = ("{server:g} times with a server, {ring:.2f} times in a ring\n"
        "The server's link carries each worker's gradients and parameters, so its time grows with the number of "
        "workers. In a ring each link carries 2(n - 1)/n times the gradients in each direction: from 1 to almost 2.")
    names = ("factor with a server", "factor in a ring")
    itself = "the server comes on top of the workers: there are as many pushes as workers"
    parallel = "workers send at the same time, but all through the server's one link"
    as_tree = "that is a tree's: no worker adds up the gradients of others here"
    none = "2(n - 1)/n is 1 for two ranks, and more for others"
    rounds = "that many times as many rounds, but each moves only a piece of 1/n"
    as_server = "that is the server's: in a ring no link carries everything"


class Paused:  # 01.n
    goal = ("Three workers take 1 s per step, and each takes 5 s in one step of twelve, never two in the same. How "
        "many seconds do 36 updates take, 12 per worker, if all wait for all in each step, and if no worker waits?")
    replace = "Replace the two … by your numbers of seconds: all wait, then no worker waits."
    hints = ("how many of twelve rounds contain a slow step?", "what does one worker need for its own steps?")
    explain = ("{waiting:g} s where all wait, {free:g} s where no worker waits\n"
        "Where all wait, each slow step holds up all three: 9 rounds of one second and 3 of five. Without waiting "
        "a worker pays only for its own slow step: 11 · 1 + 5 seconds.")
    names = ("seconds where all wait", "seconds where no worker waits")
    one_pause = "that is one worker's slow step: the others have one each, in other rounds"
    no_pause = "that is without any slow step"
    every_round = "only some rounds contain a slow step"
    all_wait = "that is where all wait: a worker that does not wait pays for its own slow step only"
    unpaused = "its own slow step still counts"


class CopiedParameters:  # 01.o
    goal = ("Gradients and parameters of B bytes each, 4 devices, one process: how many times B does the first device "
        "send in a step, how many does each other one send, and how many does each rank of a ring all-reduce send?")
    replace = "Replace the three … by factors of B, outputs and inputs left out: first device, another device, ring."
    hints = ("who has the parameters after an update?", "where are the gradients needed?",
        "a ring: two halves, and all chunks but one in each")
    explain = ("{others} B from the first device, B from each other one; {ring:g} B from each rank of a ring\n"
        "The first device sends its parameters to each of the others and receives a gradient from each. In the ring "
        "all links carry the same, and nothing but gradients.")
    names = ("the first device", "another device", "a rank of a ring")
    broadcast = "each of the others needs its own copy"
    itself = "the first device needs no copy of its own parameters"
    and_received = "that is sent and received together"
    of_ring = "that is a ring's"
    nothing = "the update is on the first device: what does it need from the others?"
    own_part = "a shard of the batch gives a gradient of every parameter"
    also_received = "what it receives is not what it sends"
    with_ring = "there is no ring here: one message to the first device"
    half_ring = "that is the reduce-scatter, and the all-gather follows"
    once = "a ring sends more than the gradients once"
    both_halves = "in each half all chunks are sent but one"
    to_each = "that would be the whole gradient to each other rank"


class NoiseFloor:  # 01.p
    goal = ("Labels are drawn uniformly from 0 to 1, independent of the inputs. What is the lowest mean squared error "
        "that any model can be expected to reach on held-out samples?")
    replace = "Replace the … by your number."
    hints = ("what is the best answer where inputs say nothing about the label?",
        "the mean squared distance from the mean has a name")
    explain = ("the variance of the labels, {variance:.4f}\n"
        "Whatever a model answers, it is independent of the held-out label. The best it can answer is the mean, and "
        "the mean squared distance from the mean is the variance: the integral of (y - 1/2)² from 0 to 1.")
    names = ("lowest held-out loss",)
    learnt = "training samples can be memorised; held-out ones were never seen"
    always_0 = "that is the answer 0 for every sample; the mean does better"
    drawn = "that is one random label against another"
    deviation = "that is the standard deviation; the error is squared"
    distance = "that is the mean distance from 1/2, and the error is squared"


# ---------------------------------------------------------------------- 01e and 01f
class LocalBytes(Misses):  # 01.q
    goal = ("Local SGD on {n} ranks, P parameters in float64, {steps} steps, synchronised every {every}: how many "
        "bytes does each rank send?")
    replace = "Replace the … by your number of bytes, or a formula with P."
    hints = ("how many rounds are that?", "a round is one ring all-reduce of the parameters")
    explain = ("{rounds} rounds of 2 (n - 1) / n · 8 P = {round:,} bytes: {bytes:,} bytes\n"
        "An all-reduce of the gradients in each step sends as much per step as local SGD per round.")
    names = ("bytes each rank sends",)
    each_step = "that is an all-reduce in each step"
    one_round = "that is one round"
    steps_saved = "that is what local SGD does not send"
    once = "a ring all-reduce sends 2 (n - 1) / n times the tensor, not the tensor once"


class Shrinks:  # 01.r
    goal = ("Against a ring all-reduce in float64 on {n} ranks: by what factor do the bytes per rank shrink with "
        "bfloat16 on the wire, and with top-k at 2 % of the entries (with an index of 4 bytes each; all-gathered)?")
    replace = "Replace the two … by factors above 1: bfloat16's, then top-k's."
    hints = ("bytes per element", "in an all-gather, each rank's entries reach every other rank in full")
    explain = ("bfloat16: 8 / 2 = {half:g}; top-k: per parameter 2 (n - 1) / n · 8 = {ring:g} bytes against "
        "(n - 1) · 0.02 · 12 = {sent:g}: {top:.1f}\n"
        "The factor is 16 / (n · 0.02 · 12): it falls with the number of ranks.")
    names = ("bfloat16", "top 2 %")
    of_float32 = "that is against float32; these gradients are float64"
    bits = "that is the number of bits"
    inverse = "that is the part that is left; give the factor by which it shrinks"
    part = "the indices travel too, and entries are gathered, not reduced"
    no_gather = "the indices are counted, and yet a gather sends more per entry than a ring all-reduce does"
    no_indices = "each entry travels with its index"


class Crossing:  # 01.s
    goal = ("All-reduce P parameters in float64 on 2 nodes of {per_node} ranks: how many bytes cross between the "
        "nodes, both directions together, with one ring, and with two levels?")
    replace = "Replace the two … by numbers of bytes: the ring's, then that of two levels."
    hints = ("one ring 0 → 1 → 2 → 3 → 0: which links cross?",
        "two levels: how large is the piece that a rank reduces across?")
    explain = ("ring: 2 of the links cross, with 2 (n - 1) / n · 8 P each: {ring:,} bytes\n"
        "two levels: each of 4 ranks sends 2 (N - 1) / N · 8 P / m across: {two:,} bytes")
    names = ("one ring", "two levels")
    one_node = "that is one direction"
    everything = "that is what all ranks send in all; part of it stays inside a node"
    once = "that is the tensor once"
    whole_crosses = "what a rank reduces across is its piece, not the tensor"
    of_ring = "two levels send less between nodes than one ring"


class ClusterMs:  # 01.t
    goal = ("All-reduce {mb} MB on {ranks} A100s in nodes of {m}. A rank's link inside a node carries {inside:g} GB/s, "
        "its NIC {across:g} GB/s. How many ms do one ring, {m} rings (one per NIC) and two levels take?")
    replace = "Replace the three … by milliseconds; leave the latency out."
    hints = ("one ring: its slowest link has to pass 2 (n - 1) / n B",
        "a ring per NIC: they share the bytes between nodes",
        "two levels: 2 (m - 1) / m B inside, then 2 (N - 1) / N B / m across")
    explain = ("one ring {one:.1f} ms, {m} rings {rings:.2f} ms, two levels {two:.2f} ms\n"
        "2 · {others}/{ranks} · {mb} MB through {across:g} GB/s; 1/{m} of that through {across:g} GB/s; "
        "2 · {inner}/{m} · {mb} MB through {inside:g} GB/s plus 2 · {outer}/{nodes} · {piece:g} MB through "
        "{across:g} GB/s.")
    names = ("one ring", "{m} rings", "two levels")
    half = "an all-reduce is a reduce-scatter and an all-gather"
    all_nics = "that is with all {m} NICs; one ring crosses by one"
    one_nic = "that is with one NIC; each ring has its own"
    inside_only = "that is the time inside the nodes"
    across_only = "that is the time across; the one inside comes before and after"
    whole_crosses = "only 1/{m} of the tensor crosses per rank"
    in_seconds = "that is in seconds"


class SentMost(Misses):  # 01.u
    goal = ("{n} ranks, P parameters in float64: how many bytes per step does the rank that sends most send, with an "
        "all-reduce by buckets, with a server (one of the {n}) and with local SGD every {often} steps?")
    replace = "Replace the three … by numbers of bytes, or formulas with P."
    hints = ("with a server: which rank sends most, and to how many?",)
    explain = ("buckets 2 (n - 1) / n · 8 P = {ring:,}; server {workers} · 8 P = {server:,}; "
        "local SGD {local:,.0f} bytes")
    names = ("buckets", "server", "local SGD, every {often}")
    half = "that is the reduce-scatter alone, or 4 bytes per element"
    once = "that is the tensor once"
    one_worker = "that is what a worker sends; the server answers each of them"
    in_and_out = "that counts what the server receives, too"
    with_server = "the server sends itself nothing"
    each_step = "that is in each step"
    once_by_eight = "a round is a ring all-reduce, more than the tensor once"


class WireMs:  # 01.v
    goal = ("{gb:g} Gb/s ({mb:g} MB/s per direction, {us:g} µs latency), {n} ranks, P parameters in float64: for how "
        "many ms per step is communication in flight, latency included, with a ring all-reduce in one message, and on "
        "the server's link with messages to and from {workers} workers?")
    replace = "Replace the two … by milliseconds: the ring's, then the server's."
    hints = ("the ring: 2 (n - 1) rounds of one chunk", "the server: a push and a pull per worker, one after the other")
    explain = ("ring: {rounds} · {us:g} µs + {part:g} · 8 P / {mb:g} MB/s = {ring:.2f} ms; server: {messages} messages "
        "of {message:.2f} ms = {server:.1f} ms")
    names = ("ring", "server's link")
    half = "that is one half: reduce-scatter or all-gather, push or pull"
    of_server = "that is the server's"
    one_message = "that is the whole tensor once"
    worker = "that is one worker's push and pull"
    of_ring = "that is the ring's"
    in_seconds = ClusterMs.in_seconds


class HalfStep:  # 01.w
    goal = "Gradients in bfloat16 instead of float64 on the wire: how many ms does the same step take?"
    replace = "Replace the … by milliseconds, from the two numbers above."
    hints = ("which part of the step shrinks, and by what factor?",)
    explain = "{compute:.2f} ms stay, {wire:.2f} ms on the wire shrink to a quarter: {right:.2f} ms"
    names = ("ms per step",)
    everything = "only the communication shrinks"
    half = "bfloat16 has 2 bytes, float64 has 8"
    no_wire = "a quarter of the communication is left"
    unchanged = "that is the same step"
    compute_shrinks = "it is the communication that shrinks"
    in_seconds = ClusterMs.in_seconds
