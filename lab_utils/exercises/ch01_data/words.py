"""The words of the exercises of chapters 01 to 01f."""

from lab_utils.exercises.framework.words import FIX, Misses, Serial

# fmt: off


class StepBytes(Misses):  # 01.1
    goal = ("P parameters in float64, {n} ranks: how many bytes of gradients does each rank hand to all_reduce per "
        "step, and how many does it send if the all-reduce is a ring?")
    replace = "Replace the two … by your numbers; formulas with P in them will do."
    hints = ("how many bytes do the gradients have?", "exercise 00.2 has the ring's formula")
    explain = ("8 P = {whole:,} bytes, and 2 (n - 1) / n · 8 P = 2 · {others} / {n} · 8 · {parameters:,} = {bytes:,} "
        "bytes\n"
        "One gradient for each parameter, as large as the parameter; the batch has no part in it. That is why larger "
        "batches hide communication and larger models do not.")
    names = ("bytes handed to all_reduce", "bytes sent by the ring")
    four_bytes = "that is half: a float64 has 8 bytes"
    by_ring = "that is what the ring sends; the tensors are smaller"
    times_batch = "the gradients of a shard's blocks are added up before they are sent"
    half = "that is half: is a float64 4 bytes, or the ring only a reduce-scatter?"
    once = "that is all gradients once; a ring all-reduce sends more than that"
    twice = "that is all gradients twice; in each half of the ring a rank sends all chunks but one"
    to_each = "that is all gradients to each of the others"


class Overlap:  # 01.2
    goal = ("A backward of {backward_ms:g} ms fills {buckets} equal buckets evenly; each is {fast_ms:g} ms on the "
        "wire, one after the other. How many ms of communication come after the backward: in one flat message, in "
        "{buckets} buckets, and in {buckets} buckets where each takes {slow_ms:g} ms?")
    replace = "Replace the three … by your numbers of ms: flat, in buckets, in buckets on the slow wire."
    hints = ("when is each bucket full?",
        "on the slow wire: draw the four one after the other; when may the first begin?")
    explain = ("flat {buckets} · {fast_ms:g} = {flat:g} ms; in buckets {fast:g} ms; on the slow wire {slow:g} ms\n"
        "A bucket fills in {fill:g} ms. On the fast wire it is back before the next is full, so only the last one is "
        "seen. On the slow wire they queue: the first leaves at {fill:g} ms, all are back at {fill:g} + {buckets} · "
        "{slow_ms:g} = {back:g} ms, and {backward_ms:g} ms of that is backward.\n"
        "At best the last bucket and nothing else is exposed; at worst everything but what fits into the backward "
        "after the first bucket.")
    names = ("one flat message", "four buckets", "four buckets, slow wire")
    too_early = "it can leave only when the last gradient is there"
    one_bucket = "that is a quarter of the gradients"
    with_backward = "that is the backward, too: how long after its end?"
    in_seconds = "give milliseconds"
    last_hidden = "the last bucket is full only when the backward ends"
    in_one = "that is one flat message: the first three buckets leave earlier"
    hidden = "those three are hidden, each while the next one is filled: what is not?"
    last_alone = "the last bucket finds the wire busy: are the ones before it through?"
    slow_in_one = "that is one flat message: the wire is at work during the backward, too"
    from_start = "the wire has nothing to do until the first bucket is full"


class Factors(Serial):
    """Which mistake makes all gradients a multiple of serial's."""

    sum_over_ranks = ": a sum where a mean belongs"
    sum_over_n = ": a sum over {n} ranks where a mean belongs"
    sum_over_both = ": a sum over {parts} micro-batches of each of {n} ranks, and nothing divides it"
    ranks_twice = ": divided by the number of ranks once too often"
    and_others = "{name}'s is, and so are the {others} others, on every rank"
    lost = "rank {rank} has no gradient of {name}: backward has to leave one in every parameter's .grad"
    elsewhere = "gradients differ from serial by {difference:.2g} relative, most of all {where}"


class Step(Factors):  # 01.3
    goal = "This step trains, and does not equal serial. What is wrong with its gradients?"
    replace = FIX
    hints = ("what does all_reduce do when it is not told otherwise?",
        "compare one gradient with serial's: what factor?")
    explain = ("loss, every gradient and every parameter equal serial, over two steps in float64\n"
        "The loss is a mean over the batch, so the batch's gradient is the mean of the shards' gradients; a sum is n "
        "times that, which is the same as n times the learning rate under plain SGD, and hides under Adam.")
    no_loss = "{type} came back on rank {rank}: return the loss"
    zeroed = "rank {rank} has no gradient of {name} after the step: zero them before forward"
    all_of_them = "so are all {tensors} of them, on every rank"
    left_over = ("the first step equals serial and the second does not: what did the first leave behind in the "
        "gradients?")
    early = "gradients equal serial and parameters do not: was the update made before the gradients were aggregated?"
    loss = "gradients and parameters equal serial, the loss is {ratio:.2f} × serial's"
    own_shard = "rank {rank} has only the gradients of its own shard: nothing of the other ranks has come in"
    own_shards = "every rank has only the gradients of its own shard: nothing of the other ranks has come in"
    worst = "the gradient of {name} on rank {rank} differs most from serial"
    worst_times = "the gradient of {name} on rank {rank} differs most from serial: it is {factor:.2f} × serial's"


class Replicate:  # 01.4
    goal = "These replicas are not replicas. Which line makes them differ, and what would make them equal?"
    replace = FIX
    hints = ("what does the seed depend on?",
        "one rank's weights have to reach all the others: which collective does that?")
    explain = ("all ranks start from the same weights, and one step on every shard equals serial\n"
        "Averaged gradients keep equal replicas equal; they never make unequal ones equal. A broadcast also covers "
        "weights that come from a file on one rank, which a common seed does not.")
    differ = "the replicas start with different weights: {worst}"
    untouched = "nothing has changed: the replicas keep different weights: {worst}"
    worst = "{name} on rank {rank} is not rank 0's, the largest difference is {largest:.3f}"
    tensors = "{tensors} of {all} tensors differ between ranks; norms and biases start alike in any case"
    step = "after one right step: {verdict}"


class Shard:  # 01.5
    goal = "Four ranks, and the loss falls no faster than with one. What does my_shard give to each rank?"
    replace = FIX
    hints = ("print which blocks each rank gets", "where does the rank's own number come in?")
    explain = ("each block of the batch is read by one rank, by no more and by no less, and every shard is as large\n"
        "Ranks that read the same shard compute the same gradients: the mean of n equal ones is one of them, so n "
        "ranks train no faster than one, and nothing fails.")
    strange = "{type} came back on rank {rank}: return Blocks, such as blocks[numbers]"
    no_block = "rank {rank} reads rows that are no block in step {step}"
    nothing = "rank {rank} reads nothing in step {step}"
    unread = "no rank reads {missing} of the batch's {blocks} blocks"
    whole = "all {n} ranks read the whole batch in step {step}: right gradients, but nothing is shared out"
    same = "all {n} ranks read the same blocks {numbers} in step {step}, and {unread}"
    several = "block {block} is read {times} times in step {step}, by rank {ranks}; {unread}"
    foreign = "the ranks read blocks that are not in the batch in step {step}, such as {block}"
    foreign_unread = "the ranks read blocks that are not in the batch in step {step}, such as {block}; {unread}"
    missing = "{unread} in step {step}"
    uneven = "the shards have {sizes} blocks in step {step}: the mean of their means is not the batch's mean"
    step = Replicate.step


class Moved(Misses):  # 01.6
    goal = "Which fraction of the blocks moves when a fifth rank joins four, by hash modulo and by rendezvous?"
    replace = "Replace the two … by fractions between 0 and 1, to within {tolerance}: hash modulo, then rendezvous."
    hints = ("hash modulo: which blocks keep their rank?", "rendezvous: which rank can win a block from its old one?")
    explain = ("hash modulo: h % {n} = h % {more} only for h % {product} < {n}, so {n} of {product} stay and 1 - "
        "1/{more} = {leave:.2f} moves; counted on {blocks:,} blocks: {modulo:.3f}\n"
        "rendezvous: only what the new rank wins moves, its fair share 1/{more} = {stay:.2f}; counted: "
        "{rendezvous:.3f}, the least that keeps the ranks even")
    names = ("hash modulo", "rendezvous")
    stays = "that is the fraction that stays"
    new_ones = "it would be about that, if only the new rank's blocks moved"
    near = "close, but not this: when do h % 4 and h % 5 agree? Look at h % 20"
    everything = "a few stay: those with h % 4 equal to h % 5"
    old_share = "each of the five ranks ends with the same share: what is the new one's?"
    nothing = "the new rank must get its blocks from somewhere"
    by_modulo = "that is hash modulo: here a block moves only if the new rank outbids its old one"


class Accumulate(Factors):  # 01.7
    goal = "Gradients are accumulated over micro-batches before the update. Why are they too large?"
    replace = FIX
    hints = ("what does the second backward do to the .grad of the first?", "each loss is a mean: over what?")
    explain = ("the batch's gradients from micro-batches, and one aggregation\n"
        "backward adds to .grad. Each micro-batch's loss is a mean over b blocks, the shard's over m · b: m gradients "
        "add up to m times the shard's, so each loss (or the sum) is divided by m. The mean over ranks is taken once, "
        "since the mean of sums is the sum of means.")
    wire = "the gradients are right, but aggregated {times} times: once per step suffices"
    of_last = "gradients are those of the last micro-batch alone: the earlier ones are lost"
    own = "every rank has only the gradients of its own micro-batches: those of the others were not added"


class Order:  # 01.8
    goal = "Every rank shuffles, and takes each n-th block. Which blocks does an epoch leave out?"
    replace = FIX
    hints = ("print the first blocks of `order` on each rank, before it is cut",
        "what may the seed depend on, if all ranks are to share out one order?")
    explain = ("over an epoch each block is read once, by one rank; the next epoch has another order\n"
        "Ranks share out one order only if all of them have the same order: the seed may depend on the epoch, and "
        "not on the rank. With seeds of their own, a block is in none of 4 independent quarters with probability "
        "(3/4)⁴ = 0.32: a third of the text would be left out of every epoch, and no number in the log shows it.")
    strange = "{type} came back on rank {rank}: return the numbers of this rank's blocks, in order"
    unsteady = ("rank {rank} was asked twice for the same epoch and gave two orders: a stopped run could not "
        "resume in its order")
    same = "epoch 1 has the order of epoch 0, on every rank: every batch is the same again"
    foreign = "rank {rank} reads block {block} in epoch {epoch}, and there are 0 to {last}"
    whole = "every rank reads all {blocks} blocks in epoch {epoch}: nothing is shared out"
    counts = "in epoch {epoch} {unread} of {blocks} blocks are not read, {several} are read by several ranks"
    several = "read by several: {named}{more}"
    by_ranks = "block {block} by ranks {ranks}"
    unread = "not read: blocks {named}{more}"
    more = " …"
    twice = "rank {rank} reads block {block} {times} times in epoch {epoch}"
    uneven = "the ranks have {sizes} blocks in epoch {epoch}: ranks with fewer finish first and wait for the others"


class Gradients(Factors):  # 01.9
    goal = "Write my_gradients(model, x, y): the whole batch's gradients on every rank, whatever the shards' sizes."
    replace = "Replace the body: backward and aggregate, so that every parameter's .grad is serial's."
    hints = ("how much does one block of this shard weigh in the mean over ranks, and how much should it?",
        "who knows how many blocks there are in all? dist.all_reduce adds integers, too")
    explain = ("the batch's gradients, from shards of different sizes\n"
        "With b of the batch's B blocks on a rank, its loss weighs n b / B in a mean over n ranks: {weights} on this "
        "check's ranks. Where all b are equal, that is 1, so it goes unnoticed until the last batch of an "
        "epoch.")
    weight = "{n} · {size}/{batch}"
    of_means = ("gradients are {what} of the shards' means: rank 0 has {first} of {batch} blocks and rank {last_rank} "
        "has {last}, and they weigh the same")
    mean = "the mean"
    mean_times = "{factor:.2f} × the mean"
    weighs = "gradients are {factor:.2f} × serial: a block weighs {factor:.2f}/{batch} in them, and 1/{batch} in serial"
    own = "every rank has only the gradients of its own shard: nothing of the others has come in"


class ZeroBytes:  # 01.10
    goal = ("P parameters in float64, AdamW, {n} ranks: how many bytes of them, of their gradients and of the "
        "optimizer's state does a rank hold under ZeRO-1, ZeRO-2 and ZeRO-3?")
    replace = "Replace the three … by numbers, ZeRO-1 first; formulas with P in them will do."
    hints = ("without sharding there are 8 + 8 + 16 bytes per parameter: which is which?",
        "which of the three has n pieces?")
    explain = ("(8 + 8 + 16 / n) P = {one:,.0f};  (8 + (8 + 16) / n) P = {two:,.0f};  (8 + 8 + 16) / n · P = "
        "{three:,.0f}\n"
        "with n = {n} and P = {parameters:,}; without sharding {plain:,}. With more ranks the first two come down to "
        "half and to a quarter of that, and no further; only the third goes on falling.")
    names = ("bytes under ZeRO-1", "bytes under ZeRO-2", "bytes under ZeRO-3")
    unsharded = "that is without sharding anything"
    half = "that is half: a float64 has 8 bytes, and AdamW keeps two of them for each parameter"
    in_half = "that is the paper's 2 + 2 + 12 bytes per parameter; here all is float64"
    all_ranks = "that is what all ranks hold together"
    all_pieces = "that is all three in pieces, which is one stage only"
    no_state = "the optimizer's state is in pieces, not gone"


class Zero:  # 01.11
    goal = "Each rank updates its quarter of the parameters. What is missing before the next forward?"
    replace = FIX
    hints = ("after the step, which rank has the new values of which piece?",
        "which collective leaves all pieces on all ranks?")
    explain = ("loss and every parameter equal serial, over two steps in float64, and each rank's optimizer has a "
        "quarter\n"
        "A reduce-scatter and an all-gather move as many bytes as the all-reduce that they replace, in an order that "
        "has to be kept: reduce, update, gather.")
    after = "after step {step}: {verdict}"
    unequal = ("after step {step} the ranks have unequal parameters: {name} on rank {rank} differs most from rank 0's, "
        "by {largest:.4f}")
    tensors = "{tensors} of {all} tensors differ between ranks"
    own_piece = "{tensors}; on each rank its own piece is serial's, and the rest is as it was before the step"
    unchanged = "after step {step} all ranks have the parameters of before it: the update is not in them yet"
    update = "all ranks have equal parameters, and step {step}'s update is {factor:.2f} × serial's{why}"
    sum_over_ranks = Factors.sum_over_ranks
    alike = "after step {step} all ranks have equal parameters, and they are not serial's"


class Clip:  # 01.12
    goal = "Each rank clips its pieces of one gradient. By which norm?"
    replace = "Fix the function, run its cell again, then this one; it returns the norm before clipping."
    hints = ("what would torch's clip_grad_norm_ see on a rank that has the whole gradient?",
        "what adds up over pieces?")
    explain = ("one scale on every rank, and it is that of the whole gradient: its norm is √(the sum of the pieces' "
        "squares)\n"
        "Squares add up over pieces, norms do not. One all-reduce of one number is the price.")
    bent = "the gradient on rank {rank} points elsewhere than before: scale it, and nothing else"
    on_rank = "{scale:.3f} on rank {rank}"
    unequal = "the pieces are scaled by {scales}: they are no longer pieces of one gradient"
    wrong = "every rank scales by {scale:.3f}: a gradient of norm {norm:.3f} would come to {scaled:.3f}"
    no_norm = "the gradients are right, and {type} came back on rank {rank}: return the norm"
    wrong_norm = "the gradients are right; the norm that came back on rank {rank} is {norm:.3f}, not that of all"
    norms = "norms of the ranks' pieces: {norms}; max_norm is {max_norm:g}"


class LinkBytes(Misses):  # 01.13
    goal = ("n ranks, one of them the server, P parameters in float64: how many bytes go over the server's link in a "
        "step?")
    replace = "Replace the … by your number, in and out together; a formula with n and P in it will do."
    hints = ("what does one worker push, and what does it pull?", "how many of the n ranks are workers?")
    explain = ("2 (n - 1) · 8 P = 2 · {workers} · 8 · {parameters:,} = {bytes:,} bytes\n"
        "A ring's ranks send as much all together. There it is spread over n links, here it goes over one.")
    names = ("bytes over the server's link",)
    half = "that is half: is a float64 4 bytes, or only one of push and pull counted?"
    with_server = "one of the ranks is the server itself, and sends itself nothing"
    one_worker = "that is what one worker's link carries; the server's carries all of them"
    by_ring = "that is what each rank of a ring sends"


class Staleness(Misses):  # 01.14
    goal = ("Three workers, none waits; two take 1 s per step, the third takes 4 s. How stale are the third's "
        "gradients, how stale at most a fast one's, and which part of all updates is the third's?")
    replace = "Replace the three … by two numbers of updates and a fraction."
    hints = ("write down who pushes in seconds 1 to 4",
        "staleness: updates by others between a worker's pull and its push")
    explain = ("8, 2 and 1/9: in 4 s each of the two fast workers makes 4 updates, the slow one makes 1\n"
        "So 8 updates by others lie between its pull and its push. Between a fast one's pull and its push lies the "
        "other fast one's update, and once in 4 s the slow one's too. What the slow worker has read is seldom used, "
        "and then it is old: without a bound no worker waits, and its data counts least.")
    names = ("the slow worker's staleness",
        "a fast worker's largest staleness",
        "the slow worker's part of the updates")
    one_of_two = "that is what one of the two fast workers does meanwhile"
    own = "its own update is none by others"
    one_round = "that would be one round of equally fast workers"
    one_step = "it takes 4 s, in which a fast worker makes more than one step"
    usual = "that is so in most steps: what happens in the second in which the slow one pushes?"
    fresh = "another worker updates between its pull and its push"
    of_slow = "that is the slow one's"
    waiting = "that is what it has where all wait for each other"
    one_fast = "that is against one fast worker; there are two, and its own updates count as well"
    of_others = "that is its updates against those of the others; its own are updates, too"


class Compress:  # 01.15
    goal = "This compressor remembers what it did not send, and yet gradients get lost. Which ones?"
    replace = FIX
    hints = ("of what are the largest entries taken?", "and of what is the rest kept?")
    explain = ("what was sent and what is kept add up to the sum of all gradients, on every rank, after every step\n"
        "So whatever compression leaves out comes later, and nothing is lost; the error is of gradient + kept, which "
        "is what the compressor was given, not of the gradient alone.")
    strange = "{said} came back for {name} on rank {rank}: return sent, kept, in the gradient's shape"
    strange_entry = "a {type} in the pair"
    strange_shape = "shape {shape} in the pair"
    wrong = "{name} on rank {rank}, step {step}: {why}"
    tensors = "so in {tensors} of {all} tensors of all ranks, in step {step}"
    invariant = "sent so far plus kept differs from the sum of all gradients by {part:.0%} of its norm"
    too_many = "{many} entries are sent, and k is {k}"
    too_few = "{many} of k = {k} entries are sent: nothing is lost, and more could have gone"
    smaller = "it keeps entries that are larger than some that it sends: is the largest of the gradient chosen?"
    forgotten = "what was kept before this step is gone: it is neither sent nor kept"
    twice = "what was kept before this step counts twice"
    dropped = "what is not sent is not kept either: nothing is left of it"
    kept_as_well = "what is sent is kept as well, and will be sent again"
    sign = "what is kept has the wrong sign"
    unequal = "sent and kept together are not the gradient and what was kept before"


class TokenGradients(Factors):  # 01.17
    goal = ("Write my_token_gradients(model, x, y): the gradients of the mean over all tokens of the batch, on every "
        "rank, where the ranks' texts are padded to one length.")
    replace = "Replace the body: backward and aggregate; y is -100 where there is padding."
    hints = ("how many tokens has this rank, and how many have all?",
        "which reduction of cross_entropy adds the losses of the tokens?",
        "with t of T tokens on this rank: sum of its losses · n / T, then the mean over ranks")
    explain = ("the gradients of the mean over all tokens, also where a rank has only padding\n"
        "Blocks differ in tokens, so neither the ranks nor the blocks may weigh the same. The sum of the losses over "
        "all tokens, divided by their number, is the mean. A rank with only padding adds 0, where a mean is 0/0:\n"
        "def my_token_gradients(model, x, y):\n"
        "    tokens = (y != -100).sum()\n"
        "    dist.all_reduce(tokens)\n"
        "    logits, _ = model(x, y)\n"
        "    summed = nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction=\"sum\")\n"
        "    (summed * dist.get_world_size() / tokens).backward()\n"
        "    aggregate(model)")
    of_means = ("gradients are {factor:.2f} × the mean of the ranks' means: rank 0 has {first} of {tokens} tokens and "
        "rank {last_rank} has {last}, and they weigh the same")
    by_blocks = ("gradients are {factor:.2f} × a mean in which each rank weighs by its blocks, padding included: weigh "
        "by tokens")
    with_padding = ": divided by all {positions} positions of the batch, {padding} of which are padding"
    without_n = ": the ranks' weights add up to 1, and the mean over {n} ranks divides once more"
    own = "every rank has only the gradients of its own tokens: those of the others were not added"
    when_empty = "so with no tokens on rank {empty}; with tokens on every rank the gradients are right"
