"""The files of torch.distributed.pipelining: written, read, and told from what they are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from slow_schedules import schedules_of_any_order

from lab_utils.schedule import Schedule, schedules
from lab_utils.schedule.torch_csv import read, written

ONE_F_ONE_B = """\
0F0,0F1,0B0,0B1
1F0,1B0,1F1,1B1
"""
ZB_H1 = """\
0F0,0F1,0I0,0W0,0I1,0W1
1F0,1I0,1F1,1I1,1W0,1W1
"""
# As torch writes them: pauses, messages, gathers, and a forward and a backward side by side.
LOWERED = """\
0UNSHARD,0F0,0SEND_F0,,0RECV_B0,0B0,0REDUCE_GRAD,0RESHARD
1RECV_F0,1F0,1B0,1SEND_B0
"""
# What torch 2.13 makes of DualPipeV on 2 ranks with 4 micro-batches.
DUALPIPE_V = """\
0F0,0F1,0F2,3F0,3I0,3W0,3F1,(0F3;3B1)OVERLAP_F_B,(3F2;0B0)OVERLAP_F_B,3B2,(3F3;0B1)OVERLAP_F_B,3B3,0I2,0W2,0I3,0W3
1F0,2F0,1F1,2F1,1F2,2B0,(2F2;1B0)OVERLAP_F_B,(1F3;2B1)OVERLAP_F_B,(2F3;1B1)OVERLAP_F_B,2B2,1B2,2I3,1I3,2W3,1W3
"""


def test_one_f_one_b_and_zb_h1() -> None:
    assert written(schedules.one_f_one_b(2, 2)) == ONE_F_ONE_B
    assert written(schedules.zb_h1(2, 2)) == ZB_H1
    assert Schedule.of_steps("1F1B", read(ONE_F_ONE_B)).orders == schedules.one_f_one_b(2, 2).orders


@given(schedules_of_any_order())
def test_there_and_back(schedule: Schedule) -> None:
    assert Schedule.of_steps("again", read(written(schedule))).orders == schedule.orders


@pytest.mark.parametrize("name", sorted(schedules.BY_NAME.keys() - {"dualpipe"}))
def test_files(name: str, tmp_path: Path) -> None:
    schedule = schedules.BY_NAME[name](4, 6)
    schedule.to_torch_csv(tmp_path / "order.csv")
    again = Schedule.from_torch_csv(tmp_path / "order.csv")
    assert again.orders == schedule.orders and again.name == "order"
    assert Schedule.from_torch_csv(tmp_path / "order.csv", "mine").name == "mine"


def test_what_is_between_the_ops_is_left_out() -> None:
    assert Schedule.of_steps("lowered", read(LOWERED)).orders == ("F0 BW0", "F0 BW0")
    assert Schedule.of_steps("pairs", read(DUALPIPE_V)).orders == schedules.dualpipe_v(2, 4).orders


def test_what_torch_cannot_read_is_not_written() -> None:
    with pytest.raises(ValueError, match="DualPipe has 2 copies of each stage, and torch's files know one"):
        written(schedules.dualpipe(2, 2))


def test_a_cell_that_is_no_op() -> None:
    with pytest.raises(ValueError, match="line 2, cell 2: '1BW0' is no op of torch's: as 2F0, with F for F, I for B"):
        read("0F0,0B0\n1F0,1BW0\n")
    with pytest.raises(ValueError, match="again: stage 0 does not run B or BW of micro-batch 0"):
        Schedule.of_steps("again", read("0F0\n1F0,1B0\n"))
