"""What people bring works in a cell for the ranks as in a kernel's own: each is run in both where both can."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from guest_cells import ANNOTATIONS, BUFFER, MAKE_PIPES, RUN_A_FIGURE, RUN_A_LOOP, SCALARS, THREAD, THREADS, UNSHOWN
from IPython.core.async_helpers import _asyncio_runner
from kernels import run_notebook
from rank_processes import GONE_S

from lab_utils.ranks.on_rank import cells

ROOT = Path(__file__).parents[3]
START = "from lab_utils import start_ranks\nranks = start_ranks(2)"

SHELL = "!echo hi\nimport subprocess, os, sys\nnone = subprocess.run(['echo', 'there'])\nnone = os.system('echo you')"
AWAIT = "import asyncio\nasync def seven():\n    await asyncio.sleep(0)\n    return 7\nawait seven()"
TASK, AWAIT_IT = "async def eight():\n    return 8\ntask = asyncio.create_task(eight())", "await task"
STARTER = "def start():\n    return asyncio.create_task(eight())\ndef start_one():\n    return start()"
STARTED_BY_A_FUNCTION, AWAIT_THAT = "started = start_one()\ntype(started)", "await started"
PRETTY = "{'a': 1}, float, 'text'"
SILENT = "1\n2;"
NOTEBOOK_BAR = "from tqdm.notebook import trange\nfor _ in trange(2, bar_format='{n} of {total}'): pass"
OVERWRITTEN = "from tqdm.auto import tqdm\nfor _ in tqdm(range(3), bar_format='{n} of {total}'): pass"
# What a kernel's own cell shows for them, `display_data` apart.
BOTH = {
    ANNOTATIONS: "{'x': <class 'int'>, 'return': <class 'float'>} <class 'float'>",
    AWAIT: "7",
    TASK: "",
    AWAIT_IT: "8",
    STARTER: "",
    STARTED_BY_A_FUNCTION: "_asyncio.Task",
    AWAIT_THAT: "8",
    PRETTY: "({'a': 1}, float, 'text')",
    SILENT: "",
    "%time x = 6 * 7\nx": None,  # times
    "%%time\ny = 1": None,
}

LOGGING = "import logging\nlogging.basicConfig(format='%(name)s %(message)s')\nlog = logging.getLogger('train')"
LOG = "log.warning('step 10')"
LOG_IN_RUN = "def warn():\n    import logging\n    logging.getLogger('train').warning('step 11')\nranks.run(warn);"
BETWEEN = "for pipe in pipes: open(pipe, 'w' if '/ask' in pipe else 'r').close()  # each waits for the other end"
CLOSED = "sys.stdout.close()"
FIGURE = "import matplotlib.pyplot as plt\nprint('before')\nplt.plot([1, 2]); plt.show()\nprint('after')"
HTML = "from IPython.display import HTML, clear_output\nHTML('<b>bold</b>')"
UPDATED = "shown = display(HTML('first'), display_id=True)\nshown.update(HTML('second'))"
CLEARED = "for step in range(3):\n    clear_output(wait=True)\n    print('step', step)"
SAME_NAME = "none = display(HTML(f'of rank {dist.get_rank()}'), display_id='loss')"
SAME = "handle = display(HTML('of all'), display_id=True)"
OF_ONE = "if dist.get_rank() == 1: handle.update(HTML('of one'))"
OF_ONE_AGAIN = "if dist.get_rank() == 1: handle.update(HTML('of one again'))"
HELP = "sum?"
LOAD = "rate_of = 'rate = 0.1'\n%load rate_of"
REDIRECTED = "import contextlib, io\nheld = contextlib.redirect_stdout(io.StringIO())\nbuffer = held.__enter__()"
INTO_IT, REDIRECTED_END = "print('into it')", "held.__exit__(None, None, None)\nprint(repr(buffer.getvalue()))"
DUP2 = "import tempfile\nlog, was = tempfile.TemporaryFile(), os.dup(1)\nnone = os.dup2(log.fileno(), 1)"
INTO_LOG = "none = os.system('echo into the log')"
DUP2_END = "none = os.dup2(was, 1), log.seek(0)\nnone = os.system('echo shown again')\nlog.read()"
FAILED = "print('before it failed')\nraise ValueError('bad batch')"
DIED = "print('last words of', dist.get_rank(), end='')\nif dist.get_rank() == 1: os._exit(3)"
EXITED = "print('done')\nsys.exit(0)"
ENDED_BY_CODE = "sys.exit(3)"
BREAKPOINT = "breakpoint()"
INPUT, GETPASS = "input('how many? ')", "import getpass\ngetpass.getpass()"
SCRIPT = "import os\ndist.init_process_group('gloo')\nprint(int(os.environ['LOCAL_RANK']), dist.get_rank())"
SCRIPT_END = "dist.destroy_process_group()"
TWICE = "dist.init_process_group()\ndist.init_process_group()"
OTHER_SIZE = "dist.init_process_group('gloo', world_size=3, rank=0)"
PX = "%%px --no-stream\nprint('px says')"
APPLY = (
    "applied = ranks.client[:].apply(print, 'applied')\nnone = applied.get(), applied.wait_for_output()\napplied.stdout"
)
FORKED = "import os\nif os.fork() == 0: raise ValueError('a copy of the rank')\nos.waitstatus_to_exitcode(os.wait()[1])"


def on_ranks(source: str) -> str:
    return "%%ranks\n" + source


MAGIC = (
    *BOTH, SHELL, LOGGING, LOG, THREAD, BUFFER, CLOSED, FIGURE, HTML, UPDATED, CLEARED, SAME_NAME, SAME, OF_ONE,
    OF_ONE_AGAIN, SCALARS, UNSHOWN, HELP, LOAD, REDIRECTED, INTO_IT, REDIRECTED_END, DUP2, INTO_LOG, DUP2_END, FAILED,
    EXITED, ENDED_BY_CODE, BREAKPOINT, INPUT, GETPASS, OVERWRITTEN, NOTEBOOK_BAR, SCRIPT, SCRIPT_END, TWICE, OTHER_SIZE,
    FORKED, DIED,
)  # fmt: skip
CELLS = [START, *BOTH]
for each in MAGIC:
    before = {THREAD: [MAKE_PIPES], DIED: [RUN_A_LOOP, PX, APPLY, THREADS]}.get(each, [])
    after = {LOG: [LOG_IN_RUN], THREAD: [BETWEEN], FIGURE: [RUN_A_FIGURE]}.get(each, [])
    CELLS += [*before, on_ranks(each), *after]


@pytest.fixture(scope="module")
def outputs() -> Iterator[dict[str, list]]:
    """{source: the cell's outputs} of a notebook that has been run."""
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    run_notebook(node, ROOT, timeout_s=900, allow_errors=True)
    yield {cell.source: shown(cell.outputs) for cell in node.cells}


def shown(outputs: list) -> list:
    """Without the display that was there while a cell was long, as any may be on a busy machine."""
    return [output for output in outputs if output.output_type != "display_data" or output.data]


def said(outputs: dict[str, list], source: str, stream: str = "stdout") -> str:
    return "".join(each.text for each in outputs[source] if each.get("name") == stream)


def plain(outputs: list) -> str:
    """What a kernel's own cell shows, as text."""
    return "".join(each.get("text") or each.data["text/plain"] for each in outputs).rstrip("\n")


@pytest.mark.parametrize("source", BOTH)
def test_a_cell_of_the_ranks_says_what_a_kernels_own_says(outputs: dict[str, list], source: str) -> None:
    own, wanted = plain(outputs[source]), BOTH[source]
    assert wanted is None or own == wanted
    (ranks,) = outputs[on_ranks(source)] or [None]
    if wanted == "":
        assert ranks is None
    elif wanted is None:  # times
        assert "Wall time" in own and "Wall time" in ranks.text
    else:
        text = "\n  ".join(["", *own.split("\n")]) if "\n" in own else f" {own}"
        assert ranks.text == f"ranks 0-1:{text}\n"


def test_what_children_say_stands_where_they_said_it(outputs: dict[str, list]) -> None:
    assert said(outputs, on_ranks(SHELL)) == "ranks 0-1:\n  hi\n  there\n  you\n"


def test_logging_set_up_once_speaks_in_later_calls(outputs: dict[str, list]) -> None:
    assert said(outputs, on_ranks(LOG), "stderr") == "ranks 0-1: train step 10\n"
    assert said(outputs, LOG_IN_RUN, "stderr") == "ranks 0-1: train step 11\n"


def test_what_a_thread_says_between_calls_is_in_the_next(outputs: dict[str, list]) -> None:
    assert said(outputs, on_ranks(BUFFER)) == "ranks 0-1:\n  from a thread\n  raw\n  True\n"
    assert outputs[on_ranks(CLOSED)] == []  # and the cells after it speak


def test_figures_stand_between_the_prints_of_their_ranks(outputs: dict[str, list]) -> None:
    before, figure, after = outputs[on_ranks(FIGURE)]
    assert (before.text, after.text) == ("ranks 0-1: before\n", "ranks 0-1: after\n")
    assert base64.b64decode(figure.data["image/png"]).startswith(b"\x89PNG")


def test_a_figure_that_a_function_leaves_open_is_shown(outputs: dict[str, list]) -> None:
    drawn, figure = outputs[RUN_A_FIGURE]
    assert (drawn.text, "image/png" in figure.data) == ("ranks 0-1: drawn\n", True)


def test_rich_values_are_shown_and_updated(outputs: dict[str, list]) -> None:
    name, shown = outputs[on_ranks(HTML)]
    assert (name.text, shown.data["text/html"]) == ("ranks 0-1:\n", "<b>bold</b>")
    _, updated = outputs[on_ranks(UPDATED)]
    assert updated.data["text/html"] == "second"
    _, first, _, second = outputs[on_ranks(SAME_NAME)]
    assert [each.data["text/html"] for each in (first, second)] == ["of rank 0", "of rank 1"]
    _, of_all = outputs[on_ranks(SAME)]
    name, of_one = outputs[on_ranks(OF_ONE)]  # the notebook has rank 0's display for both: rank 1 gets its own
    assert (of_all.data["text/html"], name.text, of_one.data["text/html"]) == ("of all", "rank 1:\n", "of one again")
    assert outputs[on_ranks(OF_ONE_AGAIN)] == []
    assert outputs[on_ranks(SCALARS)][1].data["application/json"] == {"loss": 0.5}


def test_what_ipython_shows_and_does_not_raise(outputs: dict[str, list]) -> None:
    assert "ValueError: cannot be shown" in said(outputs, on_ranks(UNSHOWN), "stderr")
    assert "Return the sum of a 'start' value" in said(outputs, on_ranks(HELP))
    assert "rate = 0.1" in said(outputs, on_ranks(LOAD))


def test_a_stream_that_a_cell_sets_stays(outputs: dict[str, list]) -> None:
    assert outputs[on_ranks(INTO_IT)] == []
    assert said(outputs, on_ranks(REDIRECTED_END)) == "ranks 0-1: 'into it\\n'\n"


def test_a_descriptor_that_a_cell_redirects_stays_so(outputs: dict[str, list]) -> None:
    assert outputs[on_ranks(DUP2)] == outputs[on_ranks(INTO_LOG)] == []
    assert said(outputs, on_ranks(DUP2_END)) == "ranks 0-1:\n  shown again\n  b'into the log\\n'\n"


def test_what_was_cleared_is_not_shown(outputs: dict[str, list]) -> None:
    assert said(outputs, on_ranks(CLEARED)) == "ranks 0-1: step 2\n"


def test_a_bar_is_text_in_its_last_state(outputs: dict[str, list]) -> None:
    assert said(outputs, on_ranks(OVERWRITTEN), "stderr") == "ranks 0-1: 3 of 3\n"
    assert said(outputs, on_ranks(NOTEBOOK_BAR), "stderr") == "ranks 0-1: 2 of 2\n"


def test_a_call_that_fails_shows_what_it_printed(outputs: dict[str, list]) -> None:
    printed, error = outputs[on_ranks(FAILED)]
    assert (printed.text, error.ename) == ("ranks 0-1: before it failed\n", "RankError")
    printed, error = outputs[on_ranks(DIED)]
    assert printed.text == "rank 0: last words of 0\nrank 1: last words of 1\n"
    assert error.evalue.startswith("rank 1 ended with exit code 3")


def test_an_exit_without_a_code_is_success(outputs: dict[str, list]) -> None:
    assert [each.text for each in outputs[on_ranks(EXITED)]] == ["ranks 0-1: done\n"]
    (error,) = outputs[on_ranks(ENDED_BY_CODE)]
    assert error.evalue == "ranks 0-1 raised SystemExit: 3"


@pytest.mark.parametrize(
    ("source", "mend"), [(BREAKPOINT, "debug it there"), *[(each, "pass the answer on") for each in (INPUT, GETPASS)]]
)
def test_a_rank_without_a_keyboard_says_what_to_do(outputs: dict[str, list], source: str, mend: str) -> None:
    (error,) = outputs[on_ranks(source)]
    assert "no keyboard" in error.evalue and mend in error.evalue


def test_a_script_finds_torchruns_variables_and_its_group(outputs: dict[str, list]) -> None:
    assert said(outputs, on_ranks(SCRIPT)) == "rank 0: 0 0\nrank 1: 1 1\n"
    assert said(outputs, on_ranks(SCRIPT), "stderr") == (
        "ranks 0-1: init_process_group takes the group that these ranks are in: gloo, 2 ranks\n"
    )
    assert outputs[on_ranks(SCRIPT_END)] == []
    *_, error = outputs[on_ranks(TWICE)]
    assert error.evalue == "ranks 0-1 raised ValueError: trying to initialize the default process group twice!"
    (error,) = outputs[on_ranks(OTHER_SIZE)]
    assert "world_size 3" in error.evalue and "world_size 2" in error.evalue


def test_a_loop_of_the_functions_own(outputs: dict[str, list]) -> None:
    assert plain(outputs[RUN_A_LOOP]) == "[3, 3]"


def test_an_interrupted_await_ends_before_the_next_cell() -> None:
    said = []

    async def cell() -> None:
        try:
            asyncio.get_running_loop().call_soon(interrupt)
            await asyncio.sleep(GONE_S)
        finally:
            said.append("cleaned up")

    def interrupt() -> None:
        raise KeyboardInterrupt

    shell = SimpleNamespace(loop_runner=_asyncio_runner)
    with pytest.raises(KeyboardInterrupt), cells._awaited_to_the_end(shell):
        shell.loop_runner(cell())
    assert said == ["cleaned up"] and shell.loop_runner is _asyncio_runner


def test_ipyparallels_own_calls_keep_their_streams(outputs: dict[str, list]) -> None:
    assert said(outputs, PX) == "[stdout:0] \npx says\n[stdout:1] \npx says\n"
    assert plain(outputs[APPLY]) == "['applied\\n', 'applied\\n']"


def test_calls_from_several_threads_run_one_after_the_other(outputs: dict[str, list]) -> None:
    assert said(outputs, THREADS) == f"{[[2 * i] * 2 for i in range(6)]}\n"


def test_a_process_forked_by_a_cell_is_no_rank(outputs: dict[str, list]) -> None:
    assert said(outputs, on_ranks(FORKED)) == "ranks 0-1: 1\n"
