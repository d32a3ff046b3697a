"""A bounded queue between two ranks: the sender blocks while all slots are full.

Items are any picklable objects, sent in pieces as large as the first item. The receiver has a receive posted for each
free slot, so pieces are sent while both compute; for each piece that it takes out it sends a note that the slot is
free again. Either end may close the queue, and every posted message is matched by then.
"""

from __future__ import annotations

import pickle
from collections import deque
from itertools import pairwise

import torch
import torch.distributed as dist
from torch import Tensor

PIECES, NOTES, SIZE = range(2**20, 2**20 + 3)  # tags
MORE, LAST, END = range(3)  # kinds of piece; END belongs to no item
FREE, STOP = range(2)  # notes
_HEAD_BYTES = 16


class Sender:
    """The sending end. `stopped` once the receiver wants no more."""

    def __init__(self, group: dist.ProcessGroup, to: int, slots: int) -> None:
        self.group, self.to, self.stopped = group, to, False
        self._free, self._piece_bytes = slots, 0
        self._sent: deque[tuple[dist.Work, Tensor]] = deque()

    def put(self, item: object) -> None:
        """Send an item, waiting for a free slot. Does nothing once stopped."""
        content = bytearray(pickle.dumps(item, pickle.HIGHEST_PROTOCOL))
        self._begin(len(content))
        cuts = [*range(0, len(content), self._piece_bytes), len(content)]
        for begin, end in pairwise(cuts):
            self._send(LAST if end == len(content) else MORE, content[begin:end])

    def end(self) -> None:
        """Send that there are no more items; wait until the receiver has taken them all."""
        self._begin(1)
        self._send(END)
        while not self.stopped:
            self._read_note()

    def _begin(self, size_bytes: int) -> None:
        if not self._piece_bytes:
            self._piece_bytes = size_bytes
            dist.send(torch.tensor(size_bytes), group=self.group, group_dst=self.to, tag=SIZE)

    def _send(self, kind: int, content: bytearray = bytearray()) -> None:  # noqa: B008 - never changed
        while not self._free and not self.stopped:
            self._read_note()
        if not self.stopped:
            self._free -= 1
            self._hand_over(kind, content)

    def _hand_over(self, kind: int, content: bytearray) -> None:
        piece = torch.zeros(_HEAD_BYTES + self._piece_bytes, dtype=torch.uint8)
        piece[:_HEAD_BYTES].view(torch.int64).copy_(torch.tensor([kind, len(content)]))
        if content:
            piece[_HEAD_BYTES : _HEAD_BYTES + len(content)] = torch.frombuffer(content, dtype=torch.uint8)
        self._sent.append((dist.isend(piece, group=self.group, group_dst=self.to, tag=PIECES), piece))

    def _read_note(self) -> None:
        note = torch.empty((), dtype=torch.int64)
        dist.recv(note, group=self.group, group_src=self.to, tag=NOTES)
        if note == FREE:
            work, _ = self._sent.popleft()
            work.wait()  # already received
            self._free += 1
            return
        self.stopped = True
        for _ in range(self._free):  # each free slot has a receive posted
            self._hand_over(END, bytearray())
        while self._sent:
            self._sent.popleft()[0].wait()


class Receiver:
    """The receiving end. Begin with `open`, which waits for the first item's size."""

    def __init__(self, group: dist.ProcessGroup, source: int, slots: int) -> None:
        self.group, self.source, self._slots = group, source, slots
        self._size = torch.zeros((), dtype=torch.int64)
        self._asked = dist.irecv(self._size, group=group, group_src=source, tag=SIZE)
        self._posted: deque[tuple[dist.Work, Tensor]] = deque()
        self._notes: deque[tuple[dist.Work, Tensor]] = deque()
        self._opened = False

    def open(self) -> None:
        if not self._opened:
            self._asked.wait()
            for _ in range(self._slots):
                self._post(torch.empty(_HEAD_BYTES + int(self._size), dtype=torch.uint8))
            self._opened = True

    def take(self) -> tuple[object, ...]:
        """Wait for the next item: return (item,), or () when there are no more."""
        self.open()
        content = bytearray()
        kind = MORE
        while kind == MORE:
            kind, part = self._take_piece()
            content += part
        return (pickle.loads(content),) if kind == LAST else ()

    def close(self) -> None:
        """Stop receiving, and discard the messages still pending."""
        self.open()
        self._note(STOP)
        for work, _ in [*self._posted, *self._notes]:
            work.wait()
        self._posted.clear()

    def _take_piece(self) -> tuple[int, bytes]:
        work, piece = self._posted.popleft()
        work.wait()
        while len(self._notes) >= self._slots:  # the piece arrived, so these notes have been read
            self._notes.popleft()[0].wait()
        kind, size = piece[:_HEAD_BYTES].view(torch.int64).tolist()
        part = piece[_HEAD_BYTES : _HEAD_BYTES + size].numpy().tobytes()
        if kind != END:
            self._post(piece)
            self._note(FREE)
        return kind, part

    def _post(self, piece: Tensor) -> None:
        self._posted.append((dist.irecv(piece, group=self.group, group_src=self.source, tag=PIECES), piece))

    def _note(self, what: int) -> None:
        note = torch.tensor(what)
        self._notes.append((dist.isend(note, group=self.group, group_dst=self.source, tag=NOTES), note))
