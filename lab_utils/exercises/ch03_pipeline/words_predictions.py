"""The words of the predictions of chapters 03 and 03b."""

from lab_utils.exercises.framework.words import Misses

# fmt: off

REPLACE = "Replace each … by your number; a formula will do."


class OneBatch(Misses):  # 03.a
    goal = ("One batch passes {p} ranks forward and back, each with a fourth of the model. What is the bubble "
        "fraction, and how many times the speed of one device do the ranks reach?")
    replace = REPLACE
    hints = ("how many ranks compute at any moment?",)
    explain = ("at any moment one of {p} ranks computes: bubble fraction ({p} - 1) / {p} = {fraction:g}, and the speed "
        "of one device\n"
        "The ranks hold {p} times as much, and compute no faster.")
    names = ("bubble fraction", "speed, in devices")
    of_work = "that is idle time in parts of the work; the fraction is of ranks × makespan"
    computing = "that is the fraction of the time in which ranks compute"
    nothing = "a stage needs the output of the stage before it, so with one batch it waits"
    all_ranks = "that would need all ranks to compute at once, and a stage waits for the one before it"
    slower = "each rank has a fourth of the layers, so the sum over the ranks is the time of one device"


class HeldHere:  # 03.b
    goal = ("{p} ranks, {m} micro-batches: how many micro-batches' activations does rank 0 hold at most under GPipe, "
        "rank 0 under 1F1B, and the last rank under 1F1B?")
    replace = REPLACE
    hints = ("how many forwards of that rank come before its first backward?",)
    explain = ("GPipe holds all {m} on every rank; 1F1B p - rank: {first} on rank 0 and {last} on the last\n"
        "In between a rank frees one micro-batch with each backward before it runs the next forward.")
    names = ("GPipe, rank 0", "1F1B, rank 0", "1F1B, last rank")
    ranks = "that is the number of ranks: does any backward begin before the last forward ends?"
    of_gpipe = "that is GPipe, which runs no backward before the last forward"
    behind = "those are on the ranks behind it; its own counts, too"
    of_last = "that is the last rank: rank 0 waits longest for its first gradient"
    of_first = "that is rank 0: on the last rank the backward follows its forward"
    none = "between a forward and its backward the activations are held"


class BestVirtual:  # 03.c
    goal = ("{p} ranks, {m} micro-batches; F, B and W of a full stage take {op_ms} ms each, a message {comm_ms} ms. "
        "Which number of virtual stages per rank, 1, 2 or 4, has the shortest step?")
    replace = "Replace the … by 1, 2 or 4."
    hints = ("more virtual stages shorten the pauses and add messages",
        "how long does the forward of a virtual stage take?")
    explain = ("{best} virtual stages: {said}\n"
        "The forward of a virtual stage takes 1/v of the time, and its message as long as before.")
    names = ("virtual stages",)
    most = "that is best where messages take no time: here a message takes longer than the forward that it follows"
    one = "messages cost something, and halving the pauses still gains more"


class SplitBackward:  # 03.d
    goal = ("{p} ranks, {m} micro-batches, F, B and W take {op_ms} ms each. 1F1B takes {one_f_one_b_ms} ms. How many "
        "ms does it take if B runs first, and W where a rank would wait?")
    replace = REPLACE
    hints = ("the last rank cannot begin before the first micro-batch has passed the others",
        "which of a rank's pauses can a W fill: those before its first backward, or those after?")
    explain = ("{right_ms:g} ms: (p - 1) (F + B - W) = {idle_ms:g} ms of bubble on {work_ms:g} ms of work\n"
        "The wait for the first micro-batch stays; waits for gradients are filled by W of earlier micro-batches.")
    names = ("ms",)
    no_bubble = "that is the work alone: when does the last rank get its first micro-batch?"
    of_1f1b = "that is 1F1B: the previous rank now waits for B only, not for B and W"
    warm_up_twice = "that leaves the waits at the end unfilled, too: W fills them"


class TwoAtATime:  # 03.e
    goal = ("{p} ranks, {m} micro-batches, F takes {forward_ms} ms, BW {backward_ms} ms. 1F1B holds {p} micro-batches "
        "on rank 0 and takes {one_f_one_b_ms} ms. How long does the best order of whole backwards take if no rank may "
        "hold more than {limit}?")
    replace = "Replace the … by your number of ms, to within a tenth."
    hints = ("how long is it from a micro-batch's forward on rank 0 to the end of its backward there?",
        "how many can be under way in that time?")
    explain = ("{makespan_ms:g} ms\n"
        "A micro-batch takes {round_ms:g} ms to the last rank and back. Rank 0 admits the third when the first is back,"
        " after {round_ms:g} ms, and the fourth {later_ms:g} ms later, when the second is: twice {round_ms:g}, and "
        "{later_ms:g}.")
    names = ("ms",)
    one_f_one_b = "that is 1F1B: it holds more on rank 0, and needs to"
    one_by_one = "that is one micro-batch at a time: two may be under way"
    no_bubble = "that is the work of one rank: with few micro-batches under way it waits more, not less"
    late = "that is an order in which ranks 1 and 2 wait for F2 with BW1 ready to run"


class Vee:  # 03.f
    goal = ("No order with one stage per rank has a smaller bubble rate than the search found. What does it reach with "
        "two virtual stages per rank, placed as a V, in the same memory?")
    replace = "Replace the … by your bubble rate, to within a fifth."
    hints = ("how long is a virtual stage, and so the way of the first micro-batch through them?",
        "on which rank does the last virtual stage lie in a V, and what can it do at once?")
    explain = ("{rate:.4f}, less than half of {line_rate:.4f}\n"
        "A virtual stage takes half as long, so pauses of the same number of stages are half as long; and the V's "
        "second half comes back to rank 0, which has other work in the meantime.")
    names = ("bubble rate",)
    same = "that bound is for one stage per rank: where the stages lie is part of the problem"
    nothing = "0 is for F, B and W of equal length; here W is shorter, and its gaps are not filled"


class Workers:  # 03.g
    goal = ("{n} items; preprocessing one takes {P} ms, training on it {T} ms. From how many preprocessing workers on "
        "does another one gain nothing, and how many seconds does the run take with these?")
    replace = REPLACE
    hints = ("what does each of the two sides deliver per second?", "the slower side sets the pace")
    explain = ("{workers} workers, {seconds:g} s: P + n max(T, P / workers)\n"
        "With {workers} workers an item is ready every P / {workers} = {each:g} ms, before the trainer asks for it.")
    names = ("workers", "seconds")
    ratio = "that is P / T: workers are whole, so the next one up"
    rounded_down = "with that many an item is ready every P / workers ms: is that sooner than the trainer asks for it?"
    one_more = "one fewer already delivers sooner than the trainer asks"
    without = "that is without any worker: preprocessing and training take turns"
    one_worker = "that is with one worker"
    divided = "that is preprocessing alone, shared by the workers: the trainer has to train on each item, too"
    both_divided = "there is one trainer: its time is not divided"


class StepsCompared:  # 03.h
    goal = ("Predicted step times relative to GPipe's on the same link: 1F1B's at 10 Gb/s, ZB-H1's at 10 Gb/s, and "
        "V-Min's at 1 Gb/s, where a message takes about as long as the forward of a virtual stage?")
    replace = "Replace each … by a ratio: 1 means as long as GPipe's step."
    hints = ("which of the three has another bubble than GPipe?",
        "how many messages does a micro-batch need under V-Min?",
        "a step also has an update, which no schedule shortens")
    explain = ("1F1B {one_f_one_b:.2f}, ZB-H1 {zb_h1:.2f}, V-Min on the slow link {v_min:.2f}\n"
        "1F1B moves GPipe's pauses and saves memory. ZB-H1 fills two thirds of the bubble; the update stays as long."
        " V-Min has two virtual stages per rank, so twice as many messages, and few micro-batches to run meanwhile.")
    names = ("1F1B, 10 Gb/s", "ZB-H1, 10 Gb/s", "V-Min, 1 Gb/s")
    smaller = "that is 1F1B with a smaller bubble than GPipe's: at equal p and m the bubbles are equal"
    same = "here W fills pauses: the bubble is smaller than GPipe's"
    no_bubble = "that is no bubble at all: the wait for the first micro-batch stays"
    by_bubble = "that is where messages take no time: here they take long, and there are twice as many"
