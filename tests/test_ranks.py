"""`start_ranks`: functions and their arguments go to the ranks, results come back, and the kernel stays light."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rank_processes import assert_gone, started_by

from lab_utils import start_ranks
from lab_utils.ranks import RankError, Ranks
from lab_utils.timeline import Trace

# A notebook's kernel in small: it starts ranks, runs and records on them, fails on them, and never loads torch.
LIGHT_KERNEL = """
import sys
from lab_utils import start_ranks
from lab_utils.ranks import RankError

def mean_rank():
    import torch, torch.distributed as dist
    total = torch.tensor([float(dist.get_rank())])
    dist.all_reduce(total)
    return {"mean": total / dist.get_world_size(), "dtype": total.dtype, "shape": total.shape}

with start_ranks(2) as ranks:
    results = ranks.run(mean_rank)
    trace = ranks.record(mean_rank)
    try:
        ranks.run(lambda: 1 / 0)
    except RankError:
        pass
    print(results[1]["mean"], results[1]["dtype"], results[1]["shape"], len(trace.timeline().to_svg()) > 100)
    ranks.status()
print("torch" in sys.modules)
"""


@dataclasses.dataclass
class Step:
    loss: Any
    grads: dict[str, Any]


def scale(x: Any, by: float) -> Any:
    return x * by


def scaled_rank(by: float) -> Any:
    """Needs a helper of the same module, which is not imported on the ranks."""
    import torch.distributed as dist

    return scale(dist.get_rank(), by)


def all_sum(values: np.ndarray) -> Any:
    import torch
    import torch.distributed as dist

    tensor = torch.from_numpy(values.copy())
    dist.all_reduce(tensor)
    return tensor


# ------------------------------------------------------------------ results
def test_results_are_in_rank_order(ranks4: Ranks) -> None:
    def rank_later_for_smaller() -> int:
        import torch.distributed as dist

        for rank in range(3, dist.get_rank(), -1):
            dist.barrier()
            assert rank
        for _ in range(dist.get_rank()):
            dist.barrier()
        return dist.get_rank()

    assert ranks4.run(rank_later_for_smaller) == [0, 1, 2, 3]


def test_collectives_reach_every_rank(ranks4: Ranks) -> None:
    values = np.arange(5, dtype=np.float32)
    for result in ranks4.run(all_sum, values):
        assert isinstance(result, np.ndarray) and result.dtype == np.float32
        np.testing.assert_array_equal(result, 4 * values)


@pytest.mark.parametrize(
    ("name", "numpy_type"),
    [("float32", "f4"), ("float64", "f8"), ("float16", "f2"), ("int64", "i8"), ("uint8", "u1"), ("bool", "?"),
     ("complex64", "c8")],
)  # fmt: skip
def test_tensors_come_back_as_numpy(ranks2: Ranks, name: str, numpy_type: str) -> None:
    def tensor() -> Any:
        import torch

        return torch.tensor([[0, 1, 2]]).to(getattr(torch, name))

    for result in ranks2.run(tensor):
        assert result.dtype == np.dtype(numpy_type) and result.shape == (1, 3)
        np.testing.assert_array_equal(result, np.array([[0, 1, 2]]).astype(numpy_type))


def test_bfloat16_comes_back_exactly(ranks2: Ranks) -> None:
    def tensor() -> Any:
        import torch

        x = torch.tensor([1 / 3, -2.5, 3e38], dtype=torch.bfloat16)
        return x, x.to(torch.float64)

    low, exact = ranks2.run(tensor)[0]
    assert low.dtype == np.float32
    np.testing.assert_array_equal(low, exact)


def test_tensors_inside_containers_and_dataclasses(ranks2: Ranks) -> None:
    def step() -> Step:
        import torch

        w = torch.nn.Parameter(torch.full((2, 2), 3.0))
        (w**2).sum().backward()
        return Step(loss=[(w**2).sum()], grads={"w": (w.grad, w.grad.shape, w.dtype), "b": None})

    for result in ranks2.run(step):
        assert isinstance(result, Step)
        assert isinstance(result.loss[0], np.ndarray) and result.loss[0] == 36
        grad, shape, dtype = result.grads["w"]
        np.testing.assert_array_equal(grad, np.full((2, 2), 6.0))
        assert (shape, dtype, result.grads["b"]) == ((2, 2), "torch.float32", None)


def test_a_view_brings_only_what_it_shows(ranks2: Ranks) -> None:
    def slices() -> Any:
        import torch

        table = torch.arange(12.0).reshape(3, 4)
        return table.T, table[1:, ::2], table.conj(), torch.tensor(2.0)

    across, part, same, scalar = ranks2.run(slices)[1]
    np.testing.assert_array_equal(across, np.arange(12.0).reshape(3, 4).T)
    np.testing.assert_array_equal(part, [[4, 6], [8, 10]])
    assert same.shape == (3, 4) and scalar.shape == () and part.flags.writeable


def test_a_dtensor_brings_what_this_rank_holds(ranks2: Ranks) -> None:
    def shard() -> Any:
        import torch
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.tensor import Shard, distribute_tensor

        return distribute_tensor(torch.arange(6.0), init_device_mesh("cpu", (2,)), [Shard(0)])

    first, second = ranks2.run(shard)
    np.testing.assert_array_equal(first, [0, 1, 2])
    np.testing.assert_array_equal(second, [3, 4, 5])


def test_what_cannot_be_read_without_torch_is_refused_by_name(ranks2: Ranks) -> None:
    def layer() -> Any:
        import torch

        return {"model": torch.nn.Linear(2, 2)}

    with pytest.raises(RankError, match="TypeError: a result holds a Linear, which the notebook cannot read"):
        ranks2.run(layer)
    assert ranks2.run(lambda: 1) == [1, 1]


# ------------------------------------------------------------------ what travels
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=8,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VALUES, VALUES)
def test_arguments_and_results_arrive_as_they_were(ranks2: Ranks, value: Any, named: Any) -> None:
    assert ranks2.run(lambda a, *, b: (a, b), value, b=named) == [(value, named)] * 2


def test_closures_travel(ranks2: Ranks) -> None:
    weights = np.arange(3.0)
    offset = [1, 2]

    def shifted(by: float) -> Any:
        return weights * by + offset[0]

    np.testing.assert_array_equal(ranks2.run(shifted, 2), [weights * 2 + 1] * 2)
    offset[0] = 5  # the present value travels, not the first one
    np.testing.assert_array_equal(ranks2.run(shifted, 2), [weights * 2 + 5] * 2)


def test_helpers_of_the_same_module_travel(ranks4: Ranks) -> None:
    assert ranks4.run(scaled_rank, by=10) == [0, 10, 20, 30]


def test_the_present_text_of_a_helper_travels(ranks2: Ranks, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ranks2.run(scaled_rank, 2) == [0, 2]
    monkeypatch.setattr(sys.modules[__name__], "scale", lambda x, by: x - by)
    assert ranks2.run(scaled_rank, 2) == [-2, -1]


def test_functions_of_a_library_travel_by_name(ranks2: Ranks) -> None:
    pids = ranks2.run(os.getpid)
    assert pids == [status.pid for status in ranks2.status()]
    assert len({os.getpid(), *pids}) == 3


def test_what_cannot_travel_is_said_before_anything_runs(ranks2: Ranks) -> None:
    lock = threading.Lock()
    with pytest.raises(TypeError, match="^this call cannot be sent to the ranks: cannot pickle '_thread.lock' object"):
        ranks2.run(lambda: lock)
    assert ranks2.run(lambda: 1) == [1, 1]


def test_progress_arrives_while_the_program_runs(ranks2: Ranks) -> None:
    def train(steps: int) -> str:
        import torch.distributed as dist

        from lab_utils.comm import report

        for step in range(steps):
            report(step=step, loss=1 / (step + 1))
            dist.barrier()
        return "trained"

    heard: dict[int, list] = {0: [], 1: []}
    assert ranks2.run(train, 5, on_report=lambda rank, values: heard[rank].append(values)) == ["trained"] * 2
    assert heard[0] == heard[1] == [{"step": step, "loss": 1 / (step + 1)} for step in range(5)]


def test_what_ranks_print_is_shown_in_rank_order(ranks4: Ranks, capsys: pytest.CaptureFixture) -> None:
    def speak() -> None:
        import torch.distributed as dist

        print("even" if dist.get_rank() % 2 == 0 else f"odd {dist.get_rank()}")
        print("careful", file=sys.stderr)

    ranks4.run(speak)
    said = capsys.readouterr()
    assert said.out == "ranks 0, 2: even\nrank 1: odd 1\nrank 3: odd 3\n"
    assert said.err == "ranks 0-3: careful\n"


# ------------------------------------------------------------------ record, status
def test_record_brings_the_ops_and_the_results(ranks4: Ranks) -> None:
    trace = ranks4.record(all_sum, np.ones(256, dtype=np.float32))
    assert isinstance(trace, Trace) and trace.world_size == 4
    np.testing.assert_array_equal(trace.results, np.full((4, 256), 4.0))
    ((_, ops),) = trace.collectives().items()
    assert [(op.rank, op.name, op.bytes, op.ranks) for op in ops] == [
        (rank, "all_reduce", 1024, (0, 1, 2, 3)) for rank in range(4)
    ]
    assert {op.source.partition(":")[0] for op in ops} == {"test_ranks.py"}


def test_each_recording_holds_its_own_run(ranks2: Ranks) -> None:
    def reduces(count: int) -> None:
        import torch
        import torch.distributed as dist

        for _ in range(count):
            dist.all_reduce(torch.ones(1))

    ranks2.run(reduces, 3)
    counts = [len(ranks2.record(reduces, count).collectives()) for count in (2, 0, 1)]
    assert counts == [2, 0, 1]


def test_status_of_idle_ranks(ranks4: Ranks) -> None:
    status = ranks4.status()
    assert [rank.rank for rank in status] == [0, 1, 2, 3]
    assert all(rank.alive and rank.doing == "idle" and rank.for_s >= 0 for rank in status)
    assert all(5 * 2**20 < rank.memory_bytes < 500 * 2**20 for rank in status)
    table = repr(status).splitlines()
    assert table[0].split() == list(status.HEAD) and len(table) == 5
    assert status._repr_html_().count("<tr>") == 5


def test_an_empty_run_costs_little(ranks2: Ranks) -> None:
    """The kernel and the controller keep nothing of what has been answered."""
    array = np.ones(250_000)
    processes = [p for p in psutil.Process().children(recursive=True) if "ipyparallel.controller" in p.cmdline()]
    ranks2.run(lambda: array)
    before = [process.memory_info().rss for process in processes]
    for _ in range(20):  # 2 ranks, 2 MB there and 2 MB back: 160 MB if it were kept
        ranks2.run(lambda: array)
    grown = [process.memory_info().rss - rss for process, rss in zip(processes, before, strict=True)]
    assert processes and max(grown) < 60 * 2**20


# ------------------------------------------------------------------ life
@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory):
    with start_ranks(2) as ranks:
        yield ranks


def test_restart_gives_fresh_ranks(own: Ranks) -> None:
    def remember(value: int | None = None) -> Any:
        import builtins

        if value is not None:
            builtins.remembered = value
        return getattr(builtins, "remembered", None)

    before = own.run(os.getpid)
    own.run(remember, 7)
    assert own.run(remember) == [7, 7]
    assert own.restart() is own
    assert own.run(remember) == [None, None]
    assert not set(before) & set(own.run(os.getpid))


def test_stop_and_start_again(own: Ranks) -> None:
    assert repr(own) == "<2 ranks, running>"
    own.stop()
    own.stop()  # does nothing the second time
    assert repr(own) == "<2 ranks, stopped>"
    for use in (lambda: own.run(os.getpid), lambda: own.record(os.getpid), own.status):
        with pytest.raises(RuntimeError, match="^these ranks were stopped: start_ranks"):
            use()
    own.restart()
    np.testing.assert_array_equal(own.run(all_sum, np.ones(1)), [[2.0], [2.0]])


def test_the_stock_launcher_serves_too() -> None:
    """What systems without fork use; the same results, records and deaths, only slower to start."""
    ranks, processes = started_by(lambda: start_ranks(2, fork=False))
    with ranks:
        np.testing.assert_array_equal(ranks.run(all_sum, np.ones(3)), np.full((2, 3), 2.0))
        assert ranks.run(scaled_rank, 3) == [0, 3]
        assert len(ranks.record(all_sum, np.ones(1)).collectives()) == 1
        assert [status.alive for status in ranks.status()] == [True, True]
        assert ranks.run(lambda: os.environ["OMP_NUM_THREADS"]) == ["1", "1"]
    assert_gone(processes)


def test_the_kernel_never_loads_torch() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", LIGHT_KERNEL], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["[0.5] torch.float32 (1,) True", "False"]
    assert run.stderr == ""
