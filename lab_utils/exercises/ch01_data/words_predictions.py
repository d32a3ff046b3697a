"""The words of the predictions of chapters 01 to 01f."""

from lab_utils.exercises.framework.words import Misses

# fmt: off

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
    no_ring = "an all-reduce sends each element almost twice, an all-gather n - 1 times: compare again"
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
    goal = ("All-reduce 496 MB on {ranks} A100s in nodes of 8. A rank's link inside a node carries 200 GB/s, its NIC "
        "25 GB/s. How many ms take one ring, 8 rings (one per NIC), and two levels?")
    replace = "Replace the three … by milliseconds; leave the latency out."
    hints = ("one ring: its slowest link has to pass 2 (n - 1) / n B",
        "8 rings share the bytes between nodes over 8 NICs",
        "two levels: 2 (m - 1) / m B inside, then 2 (N - 1) / N B / m across")
    explain = ("one ring {one:.1f} ms, 8 rings {rings:.2f} ms, two levels {two:.2f} ms (with latency)\n"
        "Bytes: 2 · 15/16 · 496 MB through 25 GB/s; through 200 GB/s; 2 · 7/8 · 496 MB through 200 GB/s plus 2 · 1/2 · "
        "62 MB through 25 GB/s.")
    names = ("one ring", "8 rings", "two levels")
    half = "an all-reduce is a reduce-scatter and an all-gather"
    all_nics = "that is with all 8 NICs; one ring crosses by one"
    one_nic = "that is with one NIC; each ring has its own"
    inside_only = "that is the time inside the nodes"
    across_only = "that is the time across; the one inside comes before and after"
    whole_crosses = "only an eighth of the tensor crosses per rank"
    in_seconds = "that is in seconds"


class SentMost(Misses):  # 01.u
    goal = ("4 ranks, P parameters in float64: how many bytes per step does the rank that sends most send, with an "
        "all-reduce by buckets, with a server (one of the 4) and with local SGD every 8 steps?")
    replace = "Replace the three … by numbers of bytes, or formulas with P."
    hints = ("with a server: which rank sends most, and to how many?",)
    explain = ("buckets 2 (n - 1) / n · 8 P = {ring:,}; server {workers} · 8 P = {server:,}; "
        "local SGD {local:,.0f} bytes")
    names = ("buckets", "server", "local SGD, every 8")
    half = "that is the reduce-scatter alone, or 4 bytes per element"
    once = "that is the tensor once"
    one_worker = "that is what a worker sends; the server answers each of them"
    in_and_out = "that counts what the server receives, too"
    with_server = "the server sends itself nothing"
    each_step = "that is in each step"
    once_by_eight = "a round is a ring all-reduce, more than the tensor once"


class WireMs:  # 01.v
    goal = ("1 Gb/s (125 MB/s per direction, 50 µs latency), 4 ranks, P parameters in float64: how many ms per step "
        "is the wire busy for a ring all-reduce in one message, and the server's link with messages to and from 3 "
        "workers?")
    replace = "Replace the two … by milliseconds: the ring's, then the server's."
    hints = ("the ring: 2 (n - 1) steps of one chunk", "the server: a push and a pull per worker, one after the other")
    explain = ("ring: {steps} · 50 µs + 1.5 · 8 P / 125 MB/s = {ring:.2f} ms; server: {steps} messages of "
        "{message:.2f} ms = {server:.1f} ms")
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
