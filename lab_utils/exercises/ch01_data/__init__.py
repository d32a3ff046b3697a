"""Exercises of chapters 01 to 01f."""

from lab_utils.exercises.ch01_data import numbers, words
from lab_utils.exercises.ch01_data.bucket_hook import judge as bucket_hook
from lab_utils.exercises.ch01_data.bucket_hook.words import Hook
from lab_utils.exercises.ch01_data.judge_blocks import judge_order, judge_shard
from lab_utils.exercises.ch01_data.judge_compression import judge_compress
from lab_utils.exercises.ch01_data.judge_gradients import (
    judge_accumulate,
    judge_gradients,
    judge_step,
    judge_token_gradients,
    weights,
)
from lab_utils.exercises.ch01_data.judge_parameters import judge_clip, judge_replicate, judge_zero
from lab_utils.exercises.ch01_data.numbers import BACKWARD_MS, BUCKETS, FAST_MS, RANKS, SLOW_MS, TOLERANCE
from lab_utils.exercises.ch01_data.parameter_server import judge as parameter_server
from lab_utils.exercises.ch01_data.parameter_server.words import MyServer
from lab_utils.exercises.ch01_data.predictions import PREDICTIONS
from lab_utils.exercises.ch01_data.wire import judge as wire
from lab_utils.exercises.ch01_data.wire.words import LocalSGD
from lab_utils.exercises.ch01_data.within_memory import WITHIN_MEMORY
from lab_utils.exercises.framework.judge_code import code
from lab_utils.exercises.framework.judge_numbers import numeric

_MS = {"backward_ms": BACKWARD_MS, "buckets": BUCKETS, "fast_ms": FAST_MS, "slow_ms": SLOW_MS}

EXERCISES = (
    *PREDICTIONS,
    numeric("01.1", words.StepBytes, numbers.step_bytes, given=("parameters",), n=RANKS),
    numeric("01.2", words.Overlap, numbers.overlap, **_MS),
    code("01.3", words.Step, judge_step),
    code("01.4", words.Replicate, judge_replicate),
    code("01.5", words.Shard, judge_shard),
    numeric("01.6", words.Moved, numbers.moved_blocks, tolerance=TOLERANCE),
    code("01.7", words.Accumulate, judge_accumulate),
    code("01.8", words.Order, judge_order),
    code("01.9", words.Gradients, judge_gradients, weights),
    numeric("01.10", words.ZeroBytes, numbers.zero_bytes, given=("parameters",), n=RANKS),
    code("01.11", words.Zero, judge_zero),
    code("01.12", words.Clip, judge_clip),
    numeric("01.13", words.LinkBytes, numbers.link_bytes, given=("ranks", "parameters")),
    numeric("01.14", words.Staleness, numbers.staleness),
    code("01.15", words.Compress, judge_compress),
    code("01.16", Hook, bucket_hook.judge_hook, bucket_hook.explained),
    code("01.17", words.TokenGradients, judge_token_gradients),
    *WITHIN_MEMORY,
    code("01.19", MyServer, parameter_server.judge_server, parameter_server.explained),
    code("01.20", LocalSGD, wire.judge_local_sgd, wire.explained),
)
