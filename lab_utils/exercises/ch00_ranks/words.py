"""The words of chapter 00's exercises."""

from lab_utils.exercises.framework.words import FIX, Misses

# fmt: off


class Sum:  # 00.1
    goal = "Four ranks call all_reduce(SUM) on their own rank number. What does rank {last} hold afterwards?"
    replace = "Replace the … by your number."
    hints = ("write down what each rank puts in, from rank 0 on",)
    explain = "{terms} = {sum}, and every rank holds it: all_reduce gives the same result to all"
    names = ("the sum",)
    counted_from_1 = "that is 1 + 2 + 3 + 4, and ranks count from 0"
    mean = "that is the mean, and SUM does not divide"
    largest = "that is the largest rank number, which MAX would give"
    of_all = "that is the sum over the ranks of what each holds afterwards"
    ranks = "that is the number of ranks"


class RingBytes(Misses):  # 00.2
    goal = "How many bytes does each rank send in a ring all-reduce of 64 MiB on {n} ranks?"
    replace = "Replace the … by your number of bytes, such as 10 * 2**20."
    hints = ("count the messages that one rank sends, and the size of each", "the ring has two halves of n - 1 rounds")
    explain = ("2 (n - 1) / n · B = 2 · {others} / {n} · 64 MiB = {mib} MiB = {bytes:,} bytes\n"
        "{messages} messages of one chunk of {chunk_mib} MiB: {others} to reduce-scatter, {others} to all-gather. With "
        "more ranks it comes close to 2 B and never reaches it.")
    names = ("bytes each rank sends",)
    half = "that is one half of the ring, the reduce-scatter; the all-gather sends as much again"
    once = "that is the tensor once; count the messages of one rank and the size of each"
    twice = "that is the tensor twice; in each half a rank sends all chunks but one"
    to_each = "that is the whole tensor to each of the others, which is what the ring avoids"
    whole_messages = "the number of messages is right, but each carries one chunk, not the tensor"
    in_mib = "the number of MiB is right; the question asks for bytes, and 1 MiB is 2**20"
    in_mb = "1 MiB is 2**20 bytes, not 10**6"
    one_chunk = "that is one chunk, so one message of several"


class Rounds:  # 00.3
    goal = "How many rounds does an all-reduce take on {n} ranks, by the ring and by the tree?"
    replace = "Replace the two … by your numbers: the ring's, then the tree's."
    hints = ("the ring: how many hops until a chunk has passed every rank, and then again?",
        "the tree: how often can you halve 8 until 1 is left? Then the result has to come down")
    explain = ("ring 2 (n - 1) = 2 · {others} = {ring}, tree 2 ⌈log₂ n⌉ = 2 · {levels} = {tree}\n"
        "So small tensors, where the latency of a round decides, go by the tree; large ones, where bytes decide, by "
        "the ring.")
    names = ("rounds of the ring", "rounds of the tree")
    half_ring = "that is half of the way: after the reduce-scatter no rank has the whole result yet"
    ranks = "that is the number of ranks; a chunk needs one round fewer to pass all of them, twice"
    itself = "a chunk that starts on a rank has only the others to visit"
    of_tree = "that is the tree's number"
    half_tree = "that is half of the way: only rank 0 has the result then"
    of_ring = "that is the ring's number"
    one_pair = "in one round of the tree many pairs talk at once"


class AllGather:  # 00.4 and 00.5 have one judge
    other_x = "rank {rank}'s own x has changed: it was {before} and is {after}; leave it as it is"
    entries = "rank {rank} returned {entries} entries, and there are {n} ranks"
    shapes = "rank {rank} returned entries of shapes {shapes}, and x is {shape}"
    strange = "rank {rank} returned {type}, and not a tensor or a list of tensors"
    size = "rank {rank} returned shape {shape}, and {n} tensors of {x} have the shape {wanted}"
    entry = "on rank {rank} entry {entry} should be rank {entry}'s tensor {wanted}, and is {found}"
    entry_of = "{entry}, which is rank {owner}'s"
    more = "and {more} more like it on these or other ranks"
    collectives = "the values are right, but {names} did the work: use send and receive only"


class MyAllGather(AllGather):  # 00.4
    goal = "Write my_all_gather(x) from send and receive: every rank's x, stacked, on every rank."
    replace = "Replace the body: return a tensor [ranks, *x.shape], or a list of tensors in rank order."
    hints = ("dist.isend returns at once; wait for it after you have received",
        "a receive needs an empty tensor of the right shape and type: torch.empty_like(x)")
    explain = ("every rank holds every rank's tensor, at the place of the rank that it came from\n"
        "def my_all_gather(x):\n"
        "    rank, n = dist.get_rank(), dist.get_world_size()\n"
        "    others = [r for r in range(n) if r != rank]\n"
        "    sending = [dist.isend(x, r) for r in others]\n"
        "    out = [torch.empty_like(x) for _ in range(n)]\n"
        "    out[rank].copy_(x)\n"
        "    for r in others:\n"
        "        dist.recv(out[r], r)\n"
        "    for work in sending:\n"
        "        work.wait()\n"
        "    return torch.stack(out)\n"
        "With direct messages each rank sends its tensor to 3 others; the ring sends as many bytes, but never more "
        "than one message on a link at a time. isend before recv: if every rank blocks in send, none receives.")


class RingAllGather(AllGather):  # 00.5
    goal = "This ring all-gather has a bug: shapes and bytes are right, values are not. Which line is it?"
    replace = "Fix that line, run its cell again, then this one."
    hints = ("follow one chunk: which rank has it after round 0, and which after round 1?",
        "what a rank sends in round 1 should be what it received in round 0")
    explain = ("every round passes on what arrived in the round before: out[(rank - k) % n]\n"
        "In round 0 that is the own chunk, which is why the planted version begins well and then sends it again. "
        "Shapes, counts and bytes were all right: only the values show it.")


class LeavingBytes:  # 00.6
    goal = ("How many bytes leave each node in an all-reduce of 64 MiB on 2 nodes × {per_node} ranks, by the flat ring "
        "and by two levels?")
    replace = "Replace the two … by your numbers of bytes: the flat ring's, then the two-level one's."
    hints = ("the flat ring 0 → 1 → 2 → 3 → 0: which of its links cross, and what does a link carry in all?",
        "two levels: after the reduce-scatter in the node, how large is what each rank still has to reduce?")
    explain = ("flat ring: one of the node's ranks sends across, 2 (n - 1) / n · B = {flat_mib} MiB = {flat:,} bytes\n"
        "two-level: each of {per_node} ranks sends 2 ({nodes} - 1) / {nodes} · B / {per_node} = {share_mib} MiB, "
        "together {two_level_mib} MiB = {two_level:,} bytes\n"
        "The wire between nodes is the slow one, and it also has fewer rounds on it: {across} of 2 ({per_node} - 1) + "
        "2 ({nodes} - 1), where in the ring every round waits for it.")
    names = ("flat ring", "two-level")
    both_ranks = "of a node's two ranks only one has its right neighbour in the other node"
    half = "that is one half of the ring, the reduce-scatter or the all-gather"
    both_nodes = "both nodes together, or the tensor twice? Count what one node sends"
    of_two_level = "that is the two-level all-reduce's number"
    one_rank = "that is one rank's share; every rank of the node sends its own"
    whole = "what crosses is not the tensor but the shard of each rank"
    of_ring = "that is the flat ring's number"
    in_mib = RingBytes.in_mib


class Swap:  # 00.7
    goal = ("swap(x) should give each rank the tensor of its partner: 0 and 1 swap, 2 and 3 swap. It deadlocks. Fix "
        "it.")
    replace = "This cell then says which rank waits for which. " + FIX
    hints = ("which rank does rank 0 wait for, and what would that one have to do first?", "isend does not wait")
    explain = ("every rank holds its partner's tensor\n"
        "Both waited to receive before they sent. Any order works in which one of each pair sends first; or "
        "isend, then recv, then wait on both. dist.batch_isend_irecv does the same for many messages.")
    strange = "rank {rank} returned {type}, and not its partner's tensor"
    wrong = "rank {rank} should have rank {partner}'s tensor {wanted}, and it returned {got}"


class Total:  # 00.8
    goal = "total(batches) should give every rank the sum over the batches of all ranks. It deadlocks. Fix it."
    replace = "This cell then says which rank is missing. " + FIX
    hints = ("how often does each rank call the all-reduce?", "which sums need no other rank?")
    explain = ("every rank holds the sum of all batches\n"
        "A collective in a loop needs equally many turns on every rank. Sum each rank's own batches first, and "
        "all-reduce once. Where each turn must communicate, as in training, give all ranks equally many batches, or "
        "agree on their number first (PyTorch's DDP has a join() for that).")
    wrong = "all batches of all ranks add up to {wanted:g}, and rank {rank} returned {got}"


class ReduceScatter(AllGather):  # 00.9
    goal = ("Write my_reduce_scatter(x) in a ring of send and receive: x has one row per rank, and rank r returns row "
        "r of the sum over all ranks.")
    replace = "Replace the body: return a tensor of shape x[0].shape, and leave x as it is."
    hints = ("each rank sends one row to its right in each of n - 1 rounds",
        "add your own row to the one that arrived from the left, and send the sum on in the next round",
        "the last row that arrives on rank r is row r: so rank r begins with row (r - 1) % n, and goes down")
    explain = ("every rank holds its row of the sum, and sent (n - 1) / n of the tensor\n"
        "def my_reduce_scatter(x):\n"
        "    rank, n = dist.get_rank(), dist.get_world_size()\n"
        "    partial = x[(rank - 1) % n]\n"
        "    for k in range(n - 1):\n"
        "        arrived = torch.empty_like(partial)\n"
        "        sending = dist.isend(partial, (rank + 1) % n)\n"
        "        dist.recv(arrived, (rank - 1) % n)\n"
        "        sending.wait()\n"
        "        partial = arrived + x[(rank - 2 - k) % n]\n"
        "    return partial\n"
        "An all-gather of these rows would complete the all-reduce: each half sends (n - 1) / n of the tensor.")
    strange = "rank {rank} returned {type}, and not a tensor"
    whole = "rank {rank} returned shape {shape}: that is all rows, and it should return its own, of shape {row}"
    shape = "rank {rank} returned shape {shape}, and its row of the sum has shape {row}"
    other_row = "rank {rank} returned row {found} of the sum: row {rank} is its own"
    parts = "rank {rank} returned row {row} {how}"
    lacks, adds_twice, also = "without the part of {ranks}", "with the part of {ranks} more than once", " and "
    wrong = "rank {rank} should return {wanted}, and returned {found}"
    too_many = ("the values are right, but rank {rank} sent {sent:,} bytes, and (n - 1) / n of the tensor is {right:,}"
        "{why}")
    all_reduced = ": that is an all-reduce, of which each rank then keeps one row"
    whole_each_round = ": that is the whole tensor in each message, where one row is enough"
    not_a_ring = ("values and bytes are right, but rank {rank} sends to rank {peer}: in a ring each rank sends to its "
        "right neighbour only, here rank {right}")
