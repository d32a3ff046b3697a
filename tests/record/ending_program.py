"""A program that knows nothing of the lab: a group of one rank, ended in the way that its last argument says."""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading

import torch
import torch.distributed as dist


def form() -> None:
    store = os.path.join(tempfile.mkdtemp(dir=sys.argv[1]), "store")
    dist.init_process_group(init_method=f"file://{store}", rank=0, world_size=1)
    dist.all_reduce(torch.ones(4))


def twice() -> None:
    """Ends both: gloo's threads may abort a process (std::terminate) that leaves a second group to its end."""
    dist.destroy_process_group()
    form()
    dist.all_reduce(torch.ones(4))
    dist.destroy_process_group()


def destroy() -> None:
    dist.destroy_process_group()
    sys.exit(3)


def fork() -> None:
    """The child ends as multiprocessing ends its own, and so comes to what was left to be done at the end."""
    child = multiprocessing.get_context("fork").Process(target=print, args=("child",))
    child.start()
    child.join()
    sys.exit(3)


def stuck() -> None:
    """Waits in C++, where an interrupt raises nothing, nor does it just before, for a value that nobody sets."""
    signal.signal(signal.SIGINT, lambda signum, frame: None)
    print("waiting", flush=True)
    dist.HashStore().get("never")


def wait() -> None:
    """Waits in Python, where an interrupt raises; again and again, since one wait may begin just after the signal."""
    print("waiting", flush=True)
    while not threading.Event().wait(0.1):
        continue


def handle() -> None:
    """The program has its own way to end when it is asked to."""
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(9))
    wait()


def outlive() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    print(child.pid)


def compiled() -> None:
    torch.compile(lambda x: x + 1, backend="eager")(torch.ones(2))


ENDINGS = {
    "exit": lambda: sys.exit(3),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    **{function.__name__: function for function in (twice, destroy, fork, stuck, wait, handle, outlive, compiled)},
}

if __name__ == "__main__":
    form()
    ENDINGS[sys.argv[2]]()
