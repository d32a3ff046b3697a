"""The longer cells of test_guest."""

from __future__ import annotations

ANNOTATIONS = """import dataclasses
def f(x: int) -> float: return 1.0
@dataclasses.dataclass
class C:
    lr: float = 0.1
print(f.__annotations__, dataclasses.fields(C)[0].type)"""

THREAD = """import threading, torch.distributed as dist
def speak(rank):
    open(f"{folder}/ask-{rank}").close()  # waits for the notebook
    print("from a thread")
    open(f"{folder}/said-{rank}", "w").close()
threading.Thread(target=speak, args=[dist.get_rank()]).start()"""

MAKE_PIPES = """import os, tempfile
folder = tempfile.TemporaryDirectory()
pipes = [f"{folder.name}/{end}-{rank}" for rank in range(2) for end in ("ask", "said")]
none = list(map(os.mkfifo, pipes))
def know(name): __import__("__main__").folder = name
ranks.run(know, folder.name);"""

THREADS = """import concurrent.futures
def total(i):
    import torch
    import torch.distributed as dist
    x = torch.tensor(i)
    dist.all_reduce(x)
    return x.item()
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    print(list(pool.map(lambda i: ranks.run(total, i), range(6))))"""

BUFFER = """none = sys.stdout.buffer.write(b"raw\\n")
import faulthandler
faulthandler.enable()
print(sys.stdout.fileno() > 2)"""

SCALARS = """import numpy as np
class Scalars:
    def _repr_mimebundle_(self, **_): return {"application/json": {"loss": np.float32(0.5)}}
Scalars()"""

UNSHOWN = """class Unshown:
    def __repr__(self): raise ValueError("cannot be shown")
Unshown()"""

RUN_A_FIGURE = """def draw():
    plt.plot([1, 2])
    print('drawn')
ranks.run(draw);"""

RUN_A_LOOP = """def looped():
    import asyncio
    async def three(): return 3
    return asyncio.run(three())
ranks.run(looped)"""
