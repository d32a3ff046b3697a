"""Known schedules by name: `schedules.one_f_one_b(stages=4, microbatches=8)`.

The first argument is the number of ranks: named `stages` where each rank has one stage of the model, and `ranks` where
a rank holds several virtual stages (`interleaved(ranks=4, microbatches=8, virtual_stages=2)` cuts the model into 8
stages) or two different stages (`dualpipe`). Any number of micro-batches is allowed.
"""

from lab_utils.schedule.schedules.dual import dualpipe, dualpipe_v
from lab_utils.schedule.schedules.looped import interleaved, looped_bfs
from lab_utils.schedule.schedules.one_stage_a_rank import gpipe, one_f_one_b, zb_h1, zb_h2
from lab_utils.schedule.schedules.v_shape import v_half, v_min, zb_v
from lab_utils.text import Named

# Each takes (ranks, microbatches).
BY_NAME = Named("schedule", {
    make.__name__: make
    for make in (
        gpipe, one_f_one_b, interleaved, looped_bfs, zb_h1, zb_h2, zb_v, v_half, v_min, dualpipe, dualpipe_v
    )
})  # fmt: skip

__all__ = [
    "BY_NAME", "dualpipe", "dualpipe_v", "gpipe", "interleaved", "looped_bfs", "one_f_one_b", "v_half", "v_min",
    "zb_h1", "zb_h2", "zb_v",
]  # fmt: skip
