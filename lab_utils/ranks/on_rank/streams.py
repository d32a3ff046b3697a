"""A rank's standard streams and displays, written to files that the notebook reads even after the rank dies.

So is what its threads, its children and C++ write to file descriptors 1 and 2, during a call and between calls.
Code that ipyparallel runs by itself (`%%px`, `apply`) keeps ipykernel's streams.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from functools import wraps
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

STDOUT, STDERR, DISPLAYED = "stdout", "stderr", "displayed"
_WIDGET = "application/vnd.jupyter.widget-view+json"  # its model is on the rank, out of the notebook's reach
_streams: _Streams | None = None


def stream_file(folder: str, stream: str, pid: int) -> str:
    return f"{folder}/{stream}-{pid}"


class _Set(NamedTuple):
    """A process's outputs: streams, targets of descriptors 1 and 2, and IPython's display functions."""

    stdout: Any
    stderr: Any
    descriptors: tuple[int, int]
    publisher: Any
    displayhook: Any
    show_error: Any


class _Streams:
    def __init__(self, folder: str):
        from IPython import get_ipython

        self.shell = get_ipython()
        self._kernels = _Set(
            sys.stdout, sys.stderr, (os.dup(1), os.dup(2)), self.shell.display_pub, self.shell.displayhook,
            self.shell.showtraceback,
        )  # fmt: skip
        self.paths = [stream_file(folder, stream, os.getpid()) for stream in (STDOUT, STDERR, DISPLAYED)]
        self._descriptors = tuple(map(_appended, self.paths))
        publisher = _publisher(self, self._descriptors[2])
        publisher.set_parent = self._kernels.publisher.set_parent  # set for every message, in use or not
        hook = _displayhook(self.shell, publisher)
        self._own = _Set(*self._texts(), self._descriptors[:2], publisher, hook, _print_error)
        self._own.displayhook.set_parent = self._kernels.displayhook.set_parent
        self._set_by_program: dict[str, Any] = {}
        self._redirected: dict[int, int] = {}  # 1 or 2 → what a program's os.dup2 made it lead to
        self._is_own, self._to_flush = False, False
        self._use(own=True)
        self.shell.set_hook("show_in_pager", self._page)
        self._kernels_next_input, self.shell.set_next_input = self.shell.set_next_input, self._next_input
        for name in ("do_apply", "do_execute"):
            _wrap(self.shell.kernel, name, self)

    @contextlib.contextmanager
    def the_kernels(self) -> Iterator[None]:
        self._to_flush = True
        try:
            with self._using(own=False):
                yield
        finally:
            if self._to_flush:
                self._kernels.stdout.flush()
                self._kernels.stderr.flush()

    @contextlib.contextmanager
    def own(self) -> Iterator[None]:
        """Use our streams, or those that the program set in an earlier call; ipykernel needs its own between calls."""
        self._to_flush = False  # a flush takes longer than an empty call
        with self._using(own=True):
            for name, stream in self._set_by_program.items():
                if not getattr(stream, "closed", False):
                    setattr(sys, name, stream)
            try:
                yield
            finally:
                self._set_by_program = {"stdout": sys.stdout, "stderr": sys.stderr}
                for descriptor, leads_to in zip((1, 2), self._descriptors, strict=False):
                    self._keep_redirected(descriptor, leads_to)

    def _keep_redirected(self, descriptor: int, ours: int) -> None:
        """Keep where the program has led the descriptor, until it leads it back."""
        try:
            is_ours = os.path.sameopenfile(descriptor, ours)
        except OSError:  # closed
            is_ours = True
        before = self._redirected.pop(descriptor, None)
        if not is_ours:
            self._redirected[descriptor] = os.dup(descriptor)
        if before is not None:
            os.close(before)

    def written(self) -> list[int]:
        """Return the sizes in bytes of stdout's file and stderr's."""
        return [os.fstat(descriptor).st_size for descriptor in self._descriptors[:2]]

    def _texts(self) -> tuple[io.TextIOWrapper, io.TextIOWrapper]:
        texts = _text(self._descriptors[0]), _text(self._descriptors[1])
        for text, kernels in zip(texts, self._kernels[:2], strict=True):
            text.set_parent = kernels.set_parent  # as for the publisher
        return texts

    def _page(self, _shell: Any, text: str | dict[str, Any], *_: Any, **__: Any) -> None:
        """Display what a kernel would show in a pager (`name?`, `%prun`), which ranks do not have."""
        from IPython.core.error import TryNext

        if not self._is_own:
            raise TryNext  # `%%px`
        self._own.publisher.publish(text if isinstance(text, dict) else {"text/plain": text})

    def _next_input(self, text: str, replace: bool = False) -> None:
        """Print what a kernel would put into the next cell (`%load`, `%recall`): ranks cannot write cells."""
        if self._is_own:
            print(text)
        else:
            self._kernels_next_input(text, replace)  # `%%px`

    @contextlib.contextmanager
    def _using(self, own: bool) -> Iterator[None]:
        before = self._is_own
        self._use(own)
        try:
            yield
        finally:
            self._use(before)

    def _use(self, own: bool) -> None:
        if own and (self._own.stdout.closed or self._own.stderr.closed):  # by a program: sys.stdout.close()
            stdout, stderr = self._texts()
            self._own = self._own._replace(stdout=stdout, stderr=stderr)
        wanted = self._own if own else self._kernels
        sys.stdout, sys.stderr = wanted.stdout, wanted.stderr
        for descriptor, leads_to in zip((1, 2), wanted.descriptors, strict=True):
            os.dup2(self._redirected.get(descriptor, leads_to) if own else leads_to, descriptor)
        self.shell.display_pub = wanted.publisher
        self.shell.displayhook = self.shell.display_trap.hook = wanted.displayhook
        self.shell.showtraceback = wanted.show_error
        self._is_own = own


def speak_into(folder: str) -> None:
    """Write this rank's output to files in this folder from now on; once per process."""
    global _streams
    _streams = _Streams(folder)
    _streams.shell.config.pop("IPKernelApp", None)  # programs take it for a notebook with widgets
    _streams.shell.user_ns["exit"] = _streams.shell.user_ns["quit"] = sys.exit  # IPython's would end the process
    warnings.filterwarnings("ignore", "To exit: use 'exit', 'quit', or Ctrl-D.")  # IPython's warning on `sys.exit()`


def own_streams() -> contextlib.AbstractContextManager[None]:
    """Use the lab's streams for a call of the lab, inside one of ipyparallel's."""
    return _streams.own()


def _appended(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _text(descriptor: int) -> io.TextIOWrapper:
    """Return an unbuffered text stream, as under `python -u`: printed text survives a kill of the process."""
    raw = open(descriptor, "wb", buffering=0, closefd=False)  # noqa: SIM115 - lives as long as the process
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)


def _wrap(kernel: Any, name: str, streams: _Streams) -> None:
    call = getattr(kernel, name)
    if name == "do_execute":  # `%%px`

        @wraps(call)
        async def with_its_streams(*args: Any, **kwargs: Any) -> Any:
            with streams.the_kernels():
                return await call(*args, **kwargs)

    else:

        @wraps(call)
        def with_its_streams(*args: Any, **kwargs: Any) -> Any:
            with streams.the_kernels():
                return call(*args, **kwargs)

    setattr(kernel, name, with_its_streams)


def _print_error(exc_tuple: tuple | None = None, *_: Any, **__: Any) -> None:
    """Print an error that IPython shows but does not raise: from `_repr_html_`, a figure, a script in `%run`."""
    traceback.print_exception((exc_tuple or sys.exc_info())[1])


# ---------------------------------------------------------------------- displays
def _publisher(streams: _Streams, descriptor: int) -> Any:
    from IPython.core.displaypub import DisplayPublisher
    from jupyter_client.jsonutil import json_default

    class Publisher(DisplayPublisher):
        """Writes one line of JSON per display, with the positions of stdout and stderr."""

        def publish(self, data, metadata=None, source=None, *, transient=None, update=False, **_) -> None:
            data = {kind: value for kind, value in data.items() if kind != _WIDGET}
            if data.keys() <= {"text/plain"} and not transient:
                print(data.get("text/plain", ""))
                return
            transient = dict(transient or {})
            if "display_id" in transient:  # unique per rank: the notebook has one display per id
                transient["display_id"] = f"{os.getpid()}-{transient['display_id']}"
            _say(data=data, metadata=metadata or {}, transient=transient, update=update)

        def clear_output(self, wait=False) -> None:
            _say(clear=True)

    def _say(**what: Any) -> None:
        line = json.dumps({"written": streams.written(), **what}, default=json_default) + "\n"
        os.write(descriptor, line.encode())

    return Publisher(parent=streams.shell)


def _displayhook(shell: Any, publisher: Any) -> Any:
    from IPython.core.displayhook import DisplayHook

    class Printed(DisplayHook):
        """Prints a cell's last value, or displays it when it is more than text; `_` and Out do not keep it."""

        def quiet(self) -> bool:
            info = getattr(self.exec_result, "info", None)  # IPython would read the history, which ranks do not have
            return info is not None and self.semicolon_at_end_of_expression(info.raw_cell)

        def write_output_prompt(self) -> None:
            """Write nothing: cells on ranks have no number."""

        def finish_displayhook(self) -> None:
            self._is_active = False

        def write_format_data(self, data, metadata=None) -> None:
            publisher.publish(data, metadata)

    return Printed(shell=shell, parent=shell, cache_size=0)


def draw_bars_as_text() -> None:
    """Make tqdm draw text bars, and `tqdm.notebook` too; with ipykernel loaded, tqdm's import chooses widgets.

    The notebook could not show widgets of a rank.
    """
    if find_spec("tqdm") is None:
        return
    hidden = sys.modules.pop("ipykernel.zmqshell", None)
    try:
        auto = import_module("tqdm.auto")
    finally:
        if hidden is not None:
            sys.modules["ipykernel.zmqshell"] = hidden
    sys.modules["tqdm.notebook"] = sys.modules["tqdm"].notebook = auto
    auto.tqdm_notebook, auto.tnrange = auto.tqdm, auto.trange
