"""The words of the predictions of chapters 00 and 00b."""

from lab_utils.exercises.framework.words import Misses

# fmt: off


class AllToAll:  # 00.a
    goal = "Rank r holds 10 r, 10 r + 1, 10 r + 2, 10 r + 3. What does rank {rank} of {n} hold after an all-to-all?"
    replace = "Replace the two … by the first and the last of its four numbers."
    hints = ("chunk j of rank i becomes chunk i of rank j",)
    explain = ("rank {rank} holds {row}: its chunk from every rank, in rank order\n"
        "It is the transpose: rows of ranks become columns.")
    names = ("first number", "last number")
    own = "that is what the rank holds before the call"
    of_rank_0 = "that chunk stays where it is: its place is its rank's own"
    stays = "that chunk stays on the rank, at the place of its own number"
    of_last = "that chunk stays on the last rank"


class BusiestBytes(Misses):  # 00.b
    goal = ("All-reduce of {whole:,} bytes on {n} ranks: how many bytes does the busiest rank send, by tree and by two "
        "levels?")
    replace = "Replace the two … by your numbers of bytes: the tree's, then the two-level one's."
    hints = ("tree: to how many ranks does rank 0 send the result, and how large is it?",
        "two levels: what a ring of two sends inside the node, and what a ring of two sends of one shard")
    explain = ("tree: rank 0 sends the whole tensor to {children} ranks: {tree:,} bytes\n"
        "two levels: {inside:,} bytes inside the node and {across:,} across: {two:,}, as many as the ring's {ring:,}")
    names = ("tree", "two-level")
    leaf = "that is what a leaf sends: the tensor once, to its parent"
    of_ring = "that is the ring's number; the tree sends whole tensors"
    each_round = "in half of the rounds the busiest rank receives"
    only_across = "that is only what crosses to the other node"
    only_inside = "that is only what stays inside the node"
    of_tree = "that is the tree's number"


class AllReduceTime:  # 00.c
    goal = "How many µs does an all-reduce of {mb} MB take on {n} A100s joined by NVLink, by ring and by tree?"
    replace = "Replace the two … by your numbers of µs: the ring's, then the tree's."
    hints = ("rounds · latency + bytes / bandwidth", "count the bytes that pass one after the other, not all")
    explain = (
        "ring: {ring_rounds} · {latency_us:.2f} µs + {ring_bytes:,} bytes / {gb_per_s:.1f} GB/s = {ring_us:.1f} µs\n"
        "tree: {tree_rounds} · {latency_us:.2f} µs + {tree_bytes:,} bytes / {gb_per_s:.1f} GB/s = {tree_us:.1f} µs")
    names = ("ring", "tree")
    half = "that is half of the way: the result has yet to reach all ranks"
    no_latency = "that is bytes / bandwidth; each round pays the latency too"
    one_message = "that is one message with the whole tensor"
    whole_each_round = "in each round a rank sends one chunk, not the whole tensor"
    only_sent = "that is what the root sends; before, it receives whole tensors in as many rounds"


class TwiceTheBandwidth:  # 00.d
    goal = "The link's bandwidth doubles. How many times shorter is the step, on NVLink and on 10 Gb/s Ethernet?"
    replace = "Replace the two … by your factors, such as 1.5: on NVLink, then on Ethernet."
    hints = ("what of the step is bytes / bandwidth? Only that is halved",)
    explain = ("NVLink: ({compute_us:.0f} + {before:.1f}) / ({compute_us:.0f} + {after:.1f}) µs = {near:.2f}\n"
        "Ethernet: ({compute_us:.0f} + {slow_before:.0f}) / ({compute_us:.0f} + {slow_after:.0f}) µs = {far:.2f}")
    names = ("on NVLink", "on Ethernet")
    twice = "computing and latency take as long as before"
    all_reduce_alone = "that is the all-reduce alone; rank 2 still computes before it"
    none = "part of the step is bytes / bandwidth, and that part is halved"


class Skipped:  # 00.e
    goal = ("One of {n} ranks leaves out the last of three all-reduces. How many ranks block, and in which all-reduce, "
        "counted from #0?")
    replace = "Replace the two … by the number of ranks that block and the number behind the #."
    hints = ("which ranks enter a collective that never completes?",)
    explain = ("{others} ranks block, in all_reduce #{number}\n"
        "All {turns} were called by these ranks; the first ones completed, as every rank entered them.")
    names = ("ranks that block", "number of the all-reduce")
    all = "the rank that left it out is past the loop: it has returned"
    one = "that rank returned; it is the others that wait for it"
    counted_from_1 = "collectives of a group are counted from #0"
    first = "the first all-reduces complete: every rank enters them"


class Relay:  # 00.f
    goal = ("{n} ranks pass a token on, from rank 0 to the last, and rank 1 keeps it. How many ranks block, and which "
        "rank is at fault?")
    replace = "Replace the two … by the number of ranks that block and the rank that the report names as the cause."
    hints = ("which ranks receive from a rank that never sends?",)
    explain = ("ranks {next} to {last} block: rank {next} on rank {broken}, which returned, and each later rank on the "
        "one before\n"
        "The report names the wait at the front of the chain; the lines below it list all ranks that block.")
    names = ("ranks that block", "rank at fault")
    next_only = "the ranks after that one wait too"
    all_others = "the rank before the break has sent its token, and returned"
    all = "the ranks up to the break have returned"
    next_rank = "that rank waits: the one before it returned without sending"
    last = "that rank waits for one that waits itself"
    first = "that rank has sent its token"


class Replaced:  # 00.g
    goal = ("x is 6 on every rank. Rank 2 dies, a new rank 2 sets x = 2, and all {n} ranks all-reduce x. What does each"
        " hold?")
    replace = "Replace the … by your number."
    hints = ("the others keep what they hold",)
    explain = "{others} · {each} + {own} = {sum}: rank {died} starts anew, and the others keep what they hold"
    names = ("the sum",)
    all_kept = "the process that died took its x with it"
    without = "the new rank takes part, with its own x"
    all_anew = "only the rank that died starts anew"


class Released:  # 00.h
    goal = ("Rank 2 computes for longer than a group's time-out before it enters the group's all-reduce. After how "
        "many seconds are the others released?")
    replace = "Replace the … by your number of seconds."
    hints = ("is it certain that the last rank never enters?",)
    explain = ("{timeout_s:g} s, the group's time-out: a rank that computes may yet enter\n"
        "It would have entered after {computing_s:g} s. A time-out that is too short ends healthy programs.")
    names = ("seconds",)
    at_once = "a rank that still computes may yet enter: the report does not come at once"
    when_it_enters = "the group's time-out ends the wait before"
