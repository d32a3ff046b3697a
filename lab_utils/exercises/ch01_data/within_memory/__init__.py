"""Exercise 01.18: ZeRO-3 by hand, within a memory limit that the check enforces."""

from lab_utils.exercises.ch01_data.within_memory.judge import judge_within_memory
from lab_utils.exercises.ch01_data.within_memory.words import WithinMemory
from lab_utils.exercises.framework.judge_code import code
from lab_utils.render import source

SOLUTION = "lab_utils.exercises.ch01_data.within_memory.on_ranks_solution"

WITHIN_MEMORY = (
    code("01.18", WithinMemory, judge_within_memory, lambda: {"solution": source(SOLUTION, "whole", "my_zero3")}),
)
