"""Exercises of chapter 00."""

from lab_utils.exercises.ch00_ranks import numbers, words
from lab_utils.exercises.ch00_ranks.judge_messages import judge_all_gather, judge_swap, judge_total
from lab_utils.exercises.ch00_ranks.judge_reduce_scatter import judge_reduce_scatter
from lab_utils.exercises.ch00_ranks.numbers import MANY, PER_NODE, RANKS
from lab_utils.exercises.ch00_ranks.predictions import PREDICTIONS
from lab_utils.exercises.framework.judge_code import code
from lab_utils.exercises.framework.judge_numbers import numeric

EXERCISES = (
    *PREDICTIONS,
    numeric("00.1", words.Sum, numbers.ranks_sum, last=RANKS - 1),
    numeric("00.2", words.RingBytes, numbers.ring_bytes, n=RANKS),
    numeric("00.3", words.Rounds, numbers.rounds, n=MANY),
    code("00.4", words.MyAllGather, judge_all_gather),
    code("00.5", words.RingAllGather, judge_all_gather),
    numeric("00.6", words.LeavingBytes, numbers.leaving_bytes, per_node=PER_NODE),
    code("00.7", words.Swap, judge_swap),
    code("00.8", words.Total, judge_total),
    code("00.9", words.ReduceScatter, judge_reduce_scatter),
)
