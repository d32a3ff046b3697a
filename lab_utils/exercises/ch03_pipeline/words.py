"""The words of chapter 03's exercises."""

from lab_utils.exercises.framework.words import FIX, Misses, Serial

# fmt: off


class Bubbles(Misses):  # 03.1
    goal = ("{p} ranks, {m} micro-batches, F, B and W take equal times, messages none: the bubble fraction of GPipe, "
        "of 1F1B, and of interleaved 1F1B with {v} virtual stages per rank?")
    replace = "Replace the three … by fractions between 0 and 1, two digits will do; formulas will, too."
    hints = ("how long does the last rank wait for its first op?",
        "draw 1F1B's first rank: when can its last BW begin?")
    explain = ("(p - 1) / (m + p - 1) = {idle}/{whole} = {plain:.3f}, for both; with v virtual stages per rank "
        "(p - 1) / (v m + p - 1) = {idle}/{looped_whole} = {looped:.3f}\n"
        "The last rank waits until the first micro-batch has come through p - 1 stages, and the first rank until the "
        "last gradient has come back. When F and B take turns in between does not change that: 1F1B has GPipe's "
        "bubble. What it saves is memory. With virtual stages each stage on the way is v times shorter, for more "
        "messages.")
    names = ("GPipe", "1F1B", "interleaved 1F1B, {v} virtual stages per rank")
    of_work = "that is idle time in parts of the work; the fraction is of the whole time, the idle included"
    all_ranks = "the first of p ranks waits for p - 1 others, not for p"
    working = "that is the part of the time in which ranks work"
    nothing = "between warm-up and cool-down no rank waits; during these two ranks do"
    interleaved = "that takes virtual stages; here a rank has one stage"
    half = "it fills no pause that GPipe leaves: when does rank 0 get its first gradient, and its last?"
    plain = ("that is without virtual stages: how long does the last rank wait for its first op, if a virtual stage is "
        "half a stage?")
    divided = "near: the idle time is divided by the virtual stages, and so the whole time is a little shorter, too"
    looped_of_work = "that is idle time in parts of the work; the fraction is of the whole time"
    so_many_ranks = "that would be so many ranks; here a virtual stage is shorter and ranks are as before"


class Enough:  # 03.2
    goal = ("{p} ranks: from how many micro-batches on is the bubble fraction below {percent} %, under 1F1B, and with "
        "{v} virtual stages per rank?")
    replace = "Replace the two … by whole numbers."
    hints = ("solve (p - 1) / (m + p - 1) < 1/10 for m", "with v virtual stages per rank there are v m in place of m")
    explain = ("m > (p - 1) (1 - {part:g}) / ({part:g} v): {plain} with one stage per rank ({plain_bubble:.4f}), "
        "{looped} with {v} ({looped_bubble:.4f})\n"
        "Under GPipe each of them is a micro-batch's activations in memory; under 1F1B no more than p are held. And a "
        "batch of so many micro-batches must still train well: the number is not free to choose.")
    names = ("micro-batches, 1F1B", "micro-batches, {v} virtual stages per rank")
    equal = "with that many the bubble is {percent} % to the digit; below it is asked"
    below_of_work = "that has idle time below a tenth of the work, not of the whole time"
    of_work = "that has idle time of a tenth of the work, not of the whole time"
    all_ranks = "p ranks, and p - 1 of them to wait for"
    rule_of_thumb = "that is the rule of thumb of 4 p, and its bubble is above 17 %"
    plain = "that is with one stage per rank"
    rounded_down = "rounded down: with that many the bubble is still a little too large"
    not_whole = "a micro-batch cannot be cut: what is the next whole number that is enough?"
    more = "virtual stages make the pauses shorter: fewer micro-batches are enough, not more"


class Held:  # 03.3
    goal = ("{p} ranks, {m} micro-batches: how many micro-batches' activations are held at most under 1F1B on the "
        "first rank and on the last, under GPipe, under ZB-H1 on the last rank, and under ZB-H2?")
    replace = "Replace the five … by numbers of micro-batches of a full stage."
    hints = ("how many forwards come before the first backward?", "activations are kept until W, and not until B")
    explain = ("1F1B p - r, so {p} on the first rank and 1 on the last; GPipe m = {m}; ZB-H1 p = {p} on every rank; "
        "ZB-H2 2 p - 1 = {h2} on every rank\n"
        "In micro-batches of a full stage, from a forward to the W (or BW) of the same micro-batch. 1F1B is uneven: "
        "the first rank decides how much memory is needed. ZB-H1 holds as much there, and uses what other ranks had "
        "left. ZB-H2 needs about twice as much: that is the price of its bubble rate of 0.")
    names = ("1F1B, first rank", "1F1B, last rank", "GPipe, any rank", "ZB-H1, last rank", "ZB-H2, any rank")
    gpipe = "that is GPipe, which runs no backward before the last forward"
    behind = "those are under way behind it; the one that it works on itself counts, too"
    last = "that is the last rank: the first one waits longest for a gradient"
    first = "that is the first rank: here the gradient comes at once"
    two = "its next op after F0 is BW0"
    none = "between a forward and its backward the activations are there"
    ranks = "that is the number of ranks: does any backward begin before the last forward ends?"
    one_fewer = "the last one is held, too, when the first backward begins"
    divided = "activations are not divided by the number of ranks: layers are"
    one_f_one_b = "that is 1F1B: here W comes later than B, and until W the input is needed"
    zb_h2 = "that is ZB-H2"
    put_off = "how many W are put off there, to fill the pauses at the end?"
    zb_h1 = "that is ZB-H1: H2 runs more forwards before the first gradient comes"
    one_more = "one fewer: the last rank has no wait to fill"
    more_than_gpipe = "that is GPipe: H2 fills the wait for the first gradient, and no more"


class Boundaries(Misses):  # 03.4
    goal = ("m micro-batches [b, T, C] in float32 through {p} ranks: how many bytes cross one boundary in a step, how "
        "many all of them, and how many with {v} virtual stages per rank?")
    replace = "Replace the three … by numbers of bytes, both ways together; formulas with m, b, T and C will do."
    hints = ("what goes forward, and what comes back?", "how many boundaries are there between so many stages?")
    explain = ("2 m b T C · 4 = {one:,} at each boundary; (p - 1) times that = {line:,}; (v p - 1) times that = "
        "{loop:,}\n"
        "What crosses grows with the tokens of the batch, and not with the layers: a deeper model pipelines better. "
        "Data parallelism is the other way round: its bytes grow with the parameters, and not with the batch.")
    names = ("one boundary", "all boundaries", "all boundaries, {v} virtual stages per rank")
    one_way = "that is one way: activations go forward, and their gradients come back"
    half = one_way + " (or a float32 with 2 bytes)"
    one_microbatch = "that is one micro-batch"
    one_position = "every position has its C numbers"
    twice = "that is twice as much: a float32 has 4 bytes"
    one_boundary = "that is one boundary"
    stages = "p stages: how many places between two of them are there?"
    one_short = "one boundary more"
    plain = "that is with one stage per rank: how many stages are there now?"
    near = "near: but between the last stage of a round and the first of the next there is one, too"
    virtual_stages = "v p stages: how many places between two of them are there?"
    divided = "a virtual stage has fewer layers, and what goes from one to the next is as large as before"


class TwoBubbles:  # 03.5
    goal = ("{p} ranks, {m} micro-batches, F 4, B 5, W 3 ms: ZB-H2 takes {makespan_ms} ms, and the longest that one "
        "rank takes from its own first op to its own last is {span_ms} ms. The bubble fraction, and the bubble rate?")
    replace = "Replace the two … by fractions between 0 and 1, two digits will do."
    hints = ("how long does each rank work?", "one is of the makespan, the other of the longest span of one rank")
    explain = ("fraction 1 - {work:g}/{whole:g} = {fraction:.3f}; rate 1 - {work:g}/{span:g} = {rate:.3f}\n"
        "A rank that starts late and ends late loses nothing by the rate: in the next step it starts late again. That "
        "holds if ranks do not synchronise between steps, so not where gradients are clipped by the norm of all, "
        "unless that is put off, too. Ask which of the two numbers a paper prints.")
    names = ("bubble fraction", "bubble rate")
    of_rate = "that is the bubble rate: here a rank is idle before its first op, and after its last one, too"
    of_work = "that is idle time in parts of the work: divide by the time, not by the work"
    outside = "that is only the idle time outside of the longest span"
    all_ranks = "the idle time of all ranks is divided by ranks × makespan"
    of_fraction = "that is the bubble fraction: the rate takes the longest span of one rank"
    nothing = "it is 0 where F, B and W take equal times; here they do not"


class Orders:
    """What is wrong with an order, and how long it takes."""

    no_text = "give the orders as text, one line for each rank, such as 'F0 BW0 F1 BW1'"
    one_given = "1 order was given, and there are {ranks} ranks: one line for each"
    given = "{given} orders were given, and there are {ranks} ranks: one line for each"
    no_microbatch = "there is no micro-batch {microbatch}: they are counted from 0, so the last one is {last}"
    late_begin = "rank {rank} has most to do, and never pauses once it has begun: it begins late"
    pause = ("the longest pause of a rank with most to do: rank {rank} waits from {since:g} to {until:g} with {op}, "
        "until {needed} has been run on rank {other}")
    of_rank = "rank {rank}: {order}"


class OneFOneB(Orders):  # 03.6
    goal = ("Write 1F1B for {p} ranks and {m} micro-batches: the ranks may hold {held} and 1 micro-batches, and no "
        "order is to end earlier.")
    replace = "Replace each ... by a rank's ops: F0 is a forward, BW0 a whole backward, of micro-batch 0."
    hints = ("how many forwards may each rank run before its first backward?",
        "in the middle, what has to come before the next forward, so that no more is held?")
    explain = ("no rank holds more than it may, and the last op ends at {length:g}, just when GPipe's does "
        "({gpipe:g})\n"
        "{orders}\n"
        "Rank r runs p - r forwards, so that its first gradient finds it without a pause; then one backward and one "
        "forward in turn, so that it holds as many as before; then the backwards that are left.")
    late = ("it runs to its end within the memory, and its last op ends {late:g} later than 1F1B's, if F takes 1 and "
        "BW 2")


class Circle(Orders):  # 03.7
    goal = ("Three ranks with two virtual stages each; every order looks reasonable, and no rank gets to the end. Move "
        "one op.")
    replace = "Change the text and run the cell again; 3F1 is the forward of micro-batch 1 through stage 3."
    hints = ("write down the waits that the check names: they lead around",
        "for one of these ranks: what does it run before the op that another one waits for?")
    explain = ("every rank runs to its end, and one op was moved\n"
        "Each of the three ranks waits for an op that another would run only after its own: 3F1 needs 2F1, which comes "
        "behind 5F0; that needs 4F0, behind 1F2; that needs 0F2, behind 3F1. Whichever of the three is freed, the "
        "circle is open. No buffer and no faster wire helps: the orders themselves contradict each other. With one "
        "stage per rank only neighbours can do that; with virtual stages the last rank hands on to the first.")
    moves = "it runs to its end, and {moves} ops are moved: one is enough"


class Uneven(Orders):  # 03.8
    goal = ("Three stages with F 2, 4, 4, B 2, 3, 3 and W 1, 4, 1; no rank holds more than {limit} micro-batches. 1F1B "
        "and ZB-H1 take {par}. Find an order that is shorter.")
    replace = "Change the text and run the cell again; B is the gradient of the input, W that of the weights."
    hints = ("which rank has most to do, and where does it pause?",
        "what would have to reach that rank earlier, and which op of another rank stands before it?")
    explain = ("shorter than {par:g}, which 1F1B and ZB-H1 take; the lab's search finds {length:g}\n"
        "{orders}\n"
        "No order is shorter than {bound:g}: {because}. A W may wait until there is a pause, but its activations wait "
        "with it; named schedules fix the place for stages that are alike.")
    longer = ("it runs to its end within the memory and takes {length:g}: {late:g} longer than the best of 1F1B and "
        "ZB-H1, and shorter is asked")
    as_long = ("it runs to its end within the memory and takes {length:g}: as long as the best of 1F1B and ZB-H1, and "
        "shorter is asked")


class Gradients:
    """How a stage's gradients differ from serial's."""

    off = "gradients on rank {rank} are not serial's: {name} {how}"
    differs = "differs most, by {difference:.2g} relative"
    no_numbers = "has values that are no numbers"
    none_right = "none is right on any rank; gradients come from the last rank, so the mistake begins there"
    right = "{who} right: {ranks}; gradients come from the last rank, so look between the two"
    behind = "behind it are"
    others = "others are"
    one_rank = "rank {ranks}"
    some_ranks = "ranks {ranks}"


class Step(Gradients, Serial):  # 03.9
    goal = "A pipeline by send and receive, one stage per rank, GPipe's order. What is wrong with its gradients?"
    replace = FIX
    hints = ("compare one gradient with serial's: what factor?", "each micro-batch's loss is a mean: over what?")
    explain = ("every stage's gradients equal serial's in float64\n"
        "backward adds to .grad, once for each micro-batch. Each loss is a mean over its own micro-batch, so it weighs "
        "1/m in the batch's mean: divided once, on the last rank, where the loss is. All else is linear, so the factor "
        "goes back through the stages by itself.")
    lost = "rank {rank} has no gradient of {name} and {more} more of its {all}: no backward has come there"
    of_one = "gradients on every rank are those of micro-batch {number} alone"
    without_one = "what micro-batch {number} adds to the gradients is missing, on every rank"
    by_samples = ": divided by the samples of a micro-batch, and each loss is a mean over these already"
    by_ranks = ": divided by the number of ranks, and not by that of micro-batches"
    parts_thrice = ": divided by the number of micro-batches twice too often"
    all_of_them = "{name} on rank 0 is, and so are the {others} others, on every rank"
    factors = "gradients are serial's times a factor: {factors}"
    on_rank = "{factor:.3g} on rank {rank}"
    growing = "from each rank to the one before they become {factor:.3g} × as large: what is sent back?"
    one_stage = "a whole stage is off by one factor, so the mistake is in what it gets or how it begins"


class Slots(Gradients):  # 03.10
    goal = "1F1B keeps activations in slots that are used again and again. How many slots does each rank need?"
    replace = FIX
    hints = ("which forwards run before the first backward, on rank 0 and on the last rank?",
        "how many micro-batches are under way behind rank r at most, its own included?")
    explain = ("every backward has its own forward's activations, and no rank keeps more than it needs\n"
        "In 1F1B rank r has p - r micro-batches under way, so p - r slots are enough, and each is free again just when "
        "the next forward wants it. That is 1F1B's memory, in code: fewer slots and gradients go wrong without any "
        "error, more and the memory is wasted.")
    other_op = "rank {rank} runs {op} as op {number}, and the order has {wanted} there"
    ops = "rank {rank} runs {ops} ops, and the order has {wanted}"
    strange = "on rank {rank} backward({number}, ...) was given {type}, and not what a forward returned"
    mixed = "on rank {rank} the backward of micro-batch {number} runs on the activations of micro-batch {other}"
    counted = "backwards on others' activations: {counts}"
    count = "rank {rank}: {mixed} of {m}"
    too_many = ("the gradients are right, and rank {rank} keeps {held} micro-batches' activations at once: its order "
        "never has so many under way")


class Weights(Gradients):  # 03.11
    goal = "B runs at once, and W is put off until all B are done. Which input and which gradient does each W get?"
    replace = FIX
    hints = ("when does Python look up the names in the body of a lambda?", "what are they when the loop is over?")
    explain = ("the gradients of inputs and weights equal serial's, on every rank\n"
        "A W that waits needs its own micro-batch's input and its own gradient. A function that is made in a loop "
        "looks a name up when it is called, and then the loop is over: each must get its values when it is made, as "
        "default arguments, by functools.partial, or kept in a list.")
    wrong = "the weight's gradient on rank {rank} {how}"
    input_right = "something is wrong with it {others}; the gradients of the inputs are right, on every rank"
    on_no_other = "on no other rank"
    on_others = "on {ranks}, too"
    not_left = "rank {rank} hands on no gradient of micro-batch {number}'s input"
    left = "rank {rank} hands on a gradient of micro-batch {number}'s input that is not serial's{why}"
    of_other = ": it is micro-batch {other}'s"
    times = ": it is {factor:.2f} × serial's"
    zero = ": it is zero"
    no_w = "is zero: no W has run"
    of_one = "is {factor:.2f} × what micro-batch {number} alone gives: nothing of the others is in it"
    without_one = "lacks what micro-batch {number} adds"
    one_input = "is what comes out if every W takes the input of micro-batch {number}"
    one_gradient = "is what comes out if every W takes the gradient of micro-batch {number}"
    transposed = "is serial's, transposed"
    factor = "is {factor:.2f} × serial's"
    differs = "differs from serial by {difference:.2g} relative"
    leave = "leave({number}, ...) was given {what}, and micro-batch {number}'s input is {shape}"
    leave_shape = "the shape {shape}"


class Tied:  # 03.12
    goal = "The first stage embeds with the weight that the last one makes logits with. What becomes of its gradient?"
    replace = FIX
    hints = ("what does each of the two ranks have in .grad, and what has serial training there?",
        "which of the two ranks lacks which part?")
    explain = ("both copies of the weight have the sum of the two parts, so they stay equal\n"
        "In serial training backward adds both uses up in one .grad. Cut in two, each stage has one of them, and a sum "
        "over the first and the last rank brings them together. Leave it out on one side, and the copies drift apart "
        "with each update, while the loss still falls.")
    changed = "the gradient of {name} on rank {rank} has changed, and only the tied weight is on two ranks"
    wrong = "{name} on rank {rank} {how}"
    gone = "has no gradient left"
    uses = ("embedding", "logits")
    own = "has only its own part of the gradient, that of the {here}: the part of the {there} is missing"
    other = "has only the other part of the gradient, that of the {there}: its own is lost"
    factor = "has {factor:.2f} × serial's gradient"
    no_sum = "has a gradient that is no sum of the two parts"
    drift = "after one update with learning rate {rate} the two copies differ by up to {apart:.2g}"


class AnySize(Orders):  # 03.13
    goal = "Write my_order(rank, ranks, microbatches): a rank's ops under 1F1B, such as 'F0 BW0 F1 BW1', for any sizes."
    replace = "Replace the body by yours, run its cell, then this one."
    hints = ("how many forwards come before the first backward on the last rank, and on the one before it?",
        "what if there are fewer micro-batches than that?")
    explain = ("it runs, holds what 1F1B holds and ends when 1F1B ends, for all sizes asked (ranks × micro-batches: "
        "{sizes})\n"
        "Warm-up min(p - r - 1, m) forwards, then one forward and one backward in turn, then the backwards that are "
        "left. With fewer micro-batches than ranks there is no middle part, and the order is GPipe's.")
    size = "{ranks} × {microbatches}"
    no_function = "give the function itself: check('03.13', my_order), and not {type}"
    strange = "{type} came back for rank {rank}: return its ops, such as 'F0 BW0' or ['F0', 'BW0']"
    raised = "for {sizes} my_order raised {type}: {error}"
    wrong = "for {sizes}: {why}"
    sizes = "{ranks} and {microbatches}"
    ranks = ("{} rank", "{} ranks")
    microbatches = ("{} micro-batch", "{} micro-batches")
    no_microbatch = "there is no micro-batch {microbatch}: they are counted from 0"
    no_op = "{word!r} is no op: write 'F0' or 'BW0'"
    late = "it ends {late:g} later than 1F1B (F 1, BW 2)"


class Loop(Gradients):  # 03.14
    goal = ("Write my_1f1b(m, forward, backward, like): the 1F1B of one rank by send and receive. Warm-up, steady "
        "part, cool-down.")
    replace = "Replace the body by yours, run its cell, then this one."
    hints = ("how many forwards does rank r run before its first backward, and what if m is smaller than that?",
        "in the steady part a rank sends an output on while the next rank sends a gradient back: which of the two "
        "is receiving?",
        "dist.isend returns at once: keep what it returns, and wait for all of it at the end")
    explain = ("gradients equal serial's, the order is 1F1B's, and rank r holds at most p - r micro-batches\n"
        "One version:\n"
        "{reference}\n"
        "Rank r runs p - 1 - r forwards to fill the pipeline, then a forward and a backward in turn, then the "
        "backwards that are left. Blocking sends would deadlock in the steady part: rank r sends its output to rank "
        "r + 1, which sends a gradient to rank r, and neither receives. Real pipelines send and receive in one call "
        "there (Megatron-LM), or send without blocking, as here.")
    reference = (
        "def my_1f1b(m, forward, backward, like):\n"
        "    sending = []\n"
        "    def run_forward(i):\n"
        "        out = forward(i, received(like, rank - 1) if rank else None)\n"
        "        if rank < last:\n"
        "            sending.append(dist.isend(out, rank + 1))\n"
        "    def run_backward(i):\n"
        "        back = backward(i, received(like, rank + 1) if rank < last else None)\n"
        "        if rank:\n"
        "            sending.append(dist.isend(back, rank - 1))\n"
        "    warm_up = min(last - rank, m)\n"
        "    for i in range(m + warm_up):\n"
        "        if i < m:\n"
        "            run_forward(i)\n"
        "        if i >= warm_up:\n"
        "            run_backward(i - warm_up)\n"
        "    for work in sending:\n"
        "        work.wait()")
    sizes = "with {m} micro-batches {why}"
    missing = "rank {rank} does not run {ops}: after the last forward some backwards are left"
    no_microbatch = "forward({number}, ...): there are {m} micro-batches, counted from 0: they may be fewer than ranks"
    again = "forward({number}) runs a second time: each micro-batch passes a stage once"
    too_many = ("rank {rank} holds the activations of {held} micro-batches at once, and 1F1B holds at most {most} "
        "there")
    gpipe = "all {forwards} forwards run before its first backward: that is GPipe's order"
    warm_up = "it runs {forwards} forwards before its first backward"
    other_op = "rank {rank} runs {op} as op {number}, and 1F1B has {wanted} there"
    held = "it holds {held} of the {most} micro-batches that it may hold"
    no_forward = ("backward({number}, ...) needs the activations of micro-batch {number}: its forward has not run, or "
        "its backward already has")
    strange = "{name}({number}, ...) was given {what}, and needs a tensor {shape} from the neighbour"
