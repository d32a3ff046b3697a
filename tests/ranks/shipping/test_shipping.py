"""What goes to the ranks and comes back: functions, arguments, tensors; all of it readable without torch."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shipped_code
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab_utils.ranks import RankError, Ranks

ROOT = Path(__file__).parents[3]


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


# ------------------------------------------------------------------ results
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


# ------------------------------------------------------------------ where code comes from
def test_code_of_every_kind_keeps_its_file_and_lines(ranks2: Ranks) -> None:
    here = shipped_code.all_places()
    assert ranks2.run(shipped_code.all_places) == [here] * 2
    assert all(shipped_code.__file__ in [file for _, file, _ in found] for found in here.values())


def test_and_with_the_oldest_cloudpickle_that_is_allowed() -> None:
    """Which `make test` installs beside the present one."""
    oldest = Path(sys.prefix, "oldest")
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(oldest), str(ROOT)])}
    said = subprocess.check_output([sys.executable, shipped_code.__file__], env=environ, encoding="utf-8")
    requirements = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    (wanted,) = [name.removeprefix("cloudpickle>=") for name in requirements if name.startswith("cloudpickle")]
    assert json.loads(said) == {"cloudpickle": f"{wanted}.0", "same": True}


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


def test_functions_of_a_library_travel_by_name(ranks2: Ranks) -> None:
    pids = ranks2.run(os.getpid)
    assert pids == [status.pid for status in ranks2.status()]
    assert len({os.getpid(), *pids}) == 3


def test_what_cannot_travel_is_said_before_anything_runs(ranks2: Ranks) -> None:
    lock = threading.Lock()
    with pytest.raises(
        TypeError, match="^the variable `lock`, which the lambda uses, cannot be sent to the ranks: cannot"
    ):
        ranks2.run(lambda: lock)
    assert ranks2.run(lambda: 1) == [1, 1]
