"""How a wait in c10d's file store is ended from outside: the store is made unreadable."""

from __future__ import annotations

import os
import tempfile


def poison(store: str) -> None:
    """Put a link to itself in the store's place.

    A rank waits for a key by opening the file again and again. It goes on when there is none (another rank may be
    about to make it), but not from a link that leads nowhere but to itself.
    """
    folder, name = os.path.split(store)
    with tempfile.TemporaryDirectory(prefix="poison-", dir=folder) as own:
        loop = os.path.join(own, name)
        os.symlink(store, loop)
        os.replace(loop, store)
