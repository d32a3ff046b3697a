"""What kernels do is counted: FLOPs against torch's own counter, bytes against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import counted_programs as programs
import pytest
import torch
from gpt_flops import flops_per_token
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lab_utils.comm.recorder.kernel_counter import COMPILED, KernelCounter, counting
from lab_utils.comm.recorder.pending_op import Counts
from lab_utils.gpt import GPT, GPTConfig
from lab_utils.ranks import RankError, Ranks
from lab_utils.timeline import Op


def counted(program: Callable[[], object]) -> Counts:
    counter = KernelCounter()
    with counting(counter):
        program()
    return plain(counter)


def plain(counter: KernelCounter) -> Counts:
    return counter.take()._replace(live_bytes=None, peak_bytes=None, rises=())


def total(ops: list[Op], name: str = "flops", phase: str | None = None) -> int:
    return sum(getattr(op, name) for op in ops if op.kind == "compute" and phase in (None, op.phase))


A, B, BIAS = torch.ones(4, 8), torch.ones(8, 2), torch.ones(2)  # 128, 64 and 8 bytes
X, Y, LARGE = torch.ones(10), torch.ones(10), torch.ones(100, 10)  # 40, 40 and 4,000 bytes
IDS = torch.tensor([1, 2, 3])  # 24 bytes
Z = torch.ones(10, dtype=torch.float64)  # 80 bytes
PARTS = [torch.ones(10), torch.ones(5)]  # 60 bytes
ROWS = torch.ones(3, 10)  # 120 bytes
SUM = torch.ones(4, 2)  # 32 bytes
SPARSE = torch.eye(4).to_sparse()  # two int64 and a float32 for each of 4 elements: 80 bytes
OPAQUE = torch.ones(4, 4).to_mkldnn()
NARROW = torch.ones(10).to(torch.float8_e4m3fn)  # 10 bytes
META = torch.ones(10, device="meta")

BY_HAND: dict[str, tuple[Callable[[], object], Counts]] = {
    "A [4, 8] @ B [8, 2]": (lambda: A @ B, Counts(2 * 4 * 8 * 2, 128 + 64 + 32, 0, 1)),
    "A @ B, in the place of another": (lambda: torch.mm(A, B, out=torch.empty(4, 2)), Counts(128, 224, 0, 1)),
    "A.t() @ A": (lambda: A.t() @ A, Counts(2 * 8 * 4 * 8, 128 + 128 + 256, 0, 1)),
    "A @ B + bias": (lambda: torch.addmm(BIAS, A, B), Counts(128, 8 + 224, 0, 1)),
    "sum += A @ B": (lambda: SUM.addmm_(A, B), Counts(128, 192 + 2 * 32, 0, 1)),
    "sum += A @ B, of a batch": (lambda: SUM[None].baddbmm_(A[None], B[None]), Counts(128, 192 + 2 * 32, 0, 1)),
    "two kernels": (lambda: (A @ B).relu(), Counts(128, 224, 32 + 32, 2)),
    "x + y": (lambda: X + Y, Counts(0, 0, 3 * 40, 1)),
    "x + y, in the place of another": (lambda: torch.add(X, Y, out=torch.empty(10)), Counts(0, 0, 3 * 40, 1)),
    "x += y": (lambda: X.add_(Y), Counts(0, 0, 3 * 40, 1)),
    "x *= 2": (lambda: X.mul_(1), Counts(0, 0, 2 * 40, 1)),
    "x = y": (lambda: X.copy_(Y), Counts(0, 0, 2 * 40, 1)),
    "x = 1": (lambda: X.fill_(1), Counts(0, 0, 40, 1)),
    "x is drawn": (lambda: X.normal_(), Counts(0, 0, 40, 1)),
    "zeros": (lambda: torch.zeros(10), Counts(0, 0, 40, 1)),
    "float64": (lambda: Z + Z, Counts(0, 0, 3 * 80, 1)),
    "float32 to float64": (lambda: X.double(), Counts(0, 0, 40 + 80, 1)),
    "an expanded x is read once": (lambda: X.expand(100, 10) + LARGE, Counts(0, 0, 40 + 2 * 4000, 1)),
    "a column is read alone": (lambda: LARGE[:, 0] + 1, Counts(0, 0, 2 * 400, 1)),
    "a list is one kernel's": (lambda: torch._foreach_add_(PARTS, PARTS), Counts(0, 0, 3 * 60, 1)),
    "a list to a list": (lambda: torch._foreach_sqrt(PARTS), Counts(0, 0, 2 * 60, 1)),
    "concatenated": (lambda: torch.cat(PARTS), Counts(0, 0, 2 * 60, 1)),
    "rows are looked up": (lambda: LARGE[IDS], Counts(0, 0, 24 + 2 * 120, 1)),
    "embedded": (lambda: torch.nn.functional.embedding(IDS, LARGE), Counts(0, 0, 24 + 2 * 120, 1)),
    "rows are added to": (lambda: LARGE.index_add_(0, IDS, ROWS), Counts(0, 0, 24 + 3 * 120, 1)),
    "sparse": (lambda: SPARSE * 2, Counts(0, 0, 2 * 80, 1)),
    "sparse @ dense has FLOPs that nobody knows": (lambda: SPARSE @ torch.empty(4, 2), Counts(uncounted=1)),
    "nobody knows the size": (lambda: OPAQUE + OPAQUE, Counts(uncounted=1)),
    "float8": (lambda: NARROW.to(torch.float32), Counts(0, 0, 10 + 40, 1)),
    "views": (lambda: LARGE.t()[2:].unsqueeze(0).expand(3, 8, 100).view(3, 8, 10, 10), Counts()),
    "room": (lambda: (torch.empty(10), torch.empty_like(X), X.new_empty(3)), Counts()),
    "shapes": (lambda: META + META, Counts()),
    "what is only told": (lambda: (X.sum, X.shape, X.stride(), X[0].item()), Counts()),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_bytes_worked_out_by_hand(name: str) -> None:
    program, expected = BY_HAND[name]
    assert counted(program) == expected
    with torch.inference_mode():
        assert counted(program) == expected


def test_a_cut_begins_anew() -> None:
    counter = KernelCounter()
    with counting(counter):
        _ = X + Y
        first = plain(counter)
        _ = A @ B
    assert [first, plain(counter), plain(counter)] == [Counts(0, 0, 120, 1), Counts(128, 224, 0, 1), Counts()]


def gpt_step(attention: SDPBackend) -> Callable[[], None]:
    torch.manual_seed(0)
    model = GPT(GPTConfig(64, 16, 2, 32, 4))
    x = torch.randint(0, 64, (4, 16))

    def step() -> None:
        with sdpa_kernel(attention):
            model(x, x)[1].backward()

    return step


def test_flops_of_a_gpt_are_those_that_torch_counts() -> None:
    step = gpt_step(SDPBackend.MATH)
    with FlopCounterMode(display=False) as torchs:
        step()
    assert counted(step).flops == torchs.get_total_flops() == 4 * 16 * flops_per_token(GPTConfig(64, 16, 2, 32, 4))


def test_fused_attention_counts_its_matmuls() -> None:
    """Its backward works the scores out again, which is one matmul more than six, a layer."""
    again = 2 * 2 * 4 * 4 * 16 * 16 * 8  # layers, a multiply-add, B, H, T, T, D
    fused, apart = (counted(gpt_step(kind)) for kind in (SDPBackend.FLASH_ATTENTION, SDPBackend.MATH))
    assert fused.flops - apart.flops == again
    assert fused.kernels < apart.kernels
    assert fused.other_bytes < apart.other_bytes  # which write the scores


def test_a_class_of_tensors_is_counted_by_what_is_inside() -> None:
    class Wrapped(Tensor):
        @staticmethod
        def __new__(cls, inner: Tensor) -> Wrapped:
            made = Tensor._make_wrapper_subclass(cls, (1000, *inner.shape), dtype=inner.dtype)
            made.inner = inner
            return made

        @classmethod
        def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
            return cls(func(*(arg.inner if isinstance(arg, cls) else arg for arg in args), **(kwargs or {})))

    wrapped = Wrapped(X)
    assert counted(lambda: wrapped + wrapped) == Counts(0, 0, 3 * 40, 1)


def test_shapes_that_are_only_worked_out_count_nothing() -> None:
    """As DTensor does, the first time that it comes to an op."""
    with FakeTensorMode() as mode:
        given = mode.from_tensor(X)

    def work_out() -> None:
        with mode:
            made = torch.ones(10, 10)
            assert (made @ made + given).shape == (10, 10)
        assert given.detach().shape == X.shape

    assert counted(work_out) == Counts()


# ---------------------------------------------------------------------- on ranks
@pytest.mark.parametrize("kind", ["serial", "ddp", "fsdp", "checkpointed"])
def test_flops_of_the_stretches_are_those_that_torch_counts(ranks2: Ranks, kind: str) -> None:
    for flops, ops in ranks2.run(programs.counted_step, kind):
        assert total(ops) == flops
        assert total(ops, phase="forward") + total(ops, phase="backward") == flops > 0
        assert total(ops, "kernels", "update") > 0 == total(ops, "flops", "update")


def test_tensor_parallel_counts_the_local_half(ranks2: Ranks) -> None:
    serial, _ = ranks2.run(programs.counted_step, "serial")[0]
    for _, ops in ranks2.run(programs.counted_step, "tensor parallel"):
        assert total(ops) == (serial - programs.HEAD_FLOPS) // 2 + programs.HEAD_FLOPS


def test_each_micro_batch_of_a_pipeline_counts(ranks2: Ranks) -> None:
    first, last = ranks2.run(programs.pipeline, 4)
    matmul = 2 * 4 * 8 * 8
    assert total(last) == 4 * 2 * 3 * matmul
    assert total(first) == 4 * 5 * matmul  # nobody asks for the gradient of its input


def test_a_stretch_holds_what_ran_in_it(ranks2: Ranks) -> None:
    for ops in ranks2.record(programs.matmuls_between_ops).ops:
        counts = [(op.phase, op.flops, op.bytes) for op in ops if op.kind == "compute" and op.flops]
        assert counts == [("", 128, 224), ("twice", 256, 448)]
        wait = next(i for i, op in enumerate(ops) if op.kind == "wait")
        before = ops[wait - 1]
        assert (before.kind, before.flops, before.other_bytes, before.kernels) == ("compute", 0, 32, 1)


def test_ddp_waits_for_every_bucket_also_for_one_that_is_done(ranks2: Ranks) -> None:
    """On slower links it would block there."""
    for ops in ranks2.record(programs.ddp_step, 16, 5).ops:
        recorded = [op for op in ops if op.phase == "recorded"]
        sums = [i for i, op in enumerate(ops) if op in recorded and op.name == "all_reduce" and op.kind == "collective"]
        waits = [op for op in recorded if op.kind == "wait"]
        assert len(sums) == 5 and [op.of for op in waits] == sums
        for wait in waits:
            assert ops[wait.of].wait_s == (wait.issue_s if wait.done_s > wait.issue_s else None)


def test_counting_changes_no_number(ranks2: Ranks) -> None:
    plain = ranks2.run(programs.three_losses, None)
    assert ranks2.run(programs.three_losses, True) == ranks2.run(programs.three_losses, False) == plain


def test_without_counting_nothing_is_counted(ranks2: Ranks) -> None:
    for ops in ranks2.record(programs.matmuls_between_ops, count=False).ops:
        assert [total(ops, name) for name in ("flops", "bytes", "other_bytes", "kernels")] == [0, 0, 0, 0]
        assert any(op.kind == "compute" for op in ops)


def test_compiled_code_is_refused_by_one_sentence(ranks2: Ranks) -> None:
    with pytest.raises(RankError, match=r"torch\.compile made cannot be counted .*: record with count=False") as raised:
        ranks2.record(programs.run_compiled)
    assert [frame.function for frame in raised.value.failures[0].frames] == ["run_compiled"]
    assert ranks2.record(programs.run_compiled, count=False).results == ranks2.run(programs.run_compiled)


def test_compiled_code_that_was_refused_stays_compiled(ranks2: Ranks) -> None:
    for given, refusal, times in ranks2.run(programs.compiled_before_during_and_after):
        assert given[0] == given[1] == pytest.approx(64 * math.sin(8))
        assert refusal == COMPILED
        assert times == [0, 1, 2]  # for the first shape, and for the last
