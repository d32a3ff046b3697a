"""The words of the predictions of chapters 01 to 01f."""

# fmt: off


class MoreWorkers:  # 01.m
    goal = ("GPT-2's gradients on links of 100 Gb/s: how many times longer does communication take with 64 workers "
        "than with 2, with a server, and in a ring?")
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
    steps = "that many times as many rounds, but each moves only a piece of 1/n"
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
