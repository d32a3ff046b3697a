"""The words that all exercises share: the card's, those for a wrong call, and those on numbers and functions.

A catalogue holds templates for str.format and no logic. A chapter's has a class for each exercise: `goal` (the
question), `replace` (what the reader replaces, and by what), `hints` (from vague to explicit), `explain` (shown with a
right answer), `names` of the numbers that are asked for, and each sentence that its judge may say. A text begins
behind its name, which is why ruff does not format the chapters' catalogues.
"""

FIX = "Fix the function, rerun its cell, then this one."


class Card:
    said = {"open": "not answered yet", "kept": "prediction kept", "right": "right", "wrong": "not right"}
    label = "Exercise {exercise}: {said}"
    hint = "hint: {hint}"
    folded_hint = "hint {number}"


class Call:
    no_exercise = "there is no exercise {exercise!r}: there are {spans}"
    span = "{first} to {last}"
    arguments = 'call it as check("{id}", {names})'
    needs = "exercise {id} needs {wanted}, got {given}"
    only_the_answer = "nothing besides the answer"
    nothing_more = "nothing more"


class Prediction:
    kept = "you predict {said}"
    below = "The cells below show what is right."
    no_numbers = "exercise {id} asks for no numbers to predict: use check"
    count = "exercise {id} asks for {asked} numbers, and {given} {head} ones were given"
    mine, right, measured, simulated, none = "yours", "right", "measured", "simulated", "-"
    no_prediction = "You made no prediction: `predict` keeps one, before this cell runs."
    as_predicted = "As you predicted."
    fold = "{exercise}: your prediction, and what is right"


class Number:
    counts = "{given} given where {asked} asked for: {names}"
    given = ("1 answer was", "{} answers were")
    asked = ("1 is", "{} are")
    strange = "{name}: {answer!r} is not a number"
    wrong = "{name}: {size}"
    wrong_because = "{name}: {size}: {why}"
    sizes = ("too small", "too large")


class Function:
    missing = "{function} is not a function on {ranks}: run the %%ranks cell that defines it"


class Misses:
    """Common mistakes in more than one exercise on numbers."""

    all_ranks = "that is what all ranks send together"
    elements = "that is the number of elements; each has its bytes"
    percent = "give a fraction between 0 and 1"


class Serial:
    """Gradients that are a multiple of serial's, in more than one exercise on code."""

    serial_times = "gradients are {factor:.2f} × serial{why}"
    sum_over_parts = ": they add up over {parts} micro-batches, and nothing divides by that number"
    parts_twice = ": divided by the number of micro-batches once too often"
