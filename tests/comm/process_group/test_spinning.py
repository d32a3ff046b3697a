"""epoll tells of a connection's end once, when it was told to: gloo's threads would ask for ever."""

from __future__ import annotations

import select
import socket

from lab_utils.comm.process_group import spinning


def test_the_end_of_a_connection_is_told_once() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, select.epoll() as epoll:
        epoll.register(ours, select.EPOLLIN)
        ours.shutdown(socket.SHUT_RDWR)
        assert [len(epoll.poll(0)) for _ in range(3)] == [1, 1, 1]
        assert spinning.calm([theirs.fileno()]) == 0
        assert spinning.calm([ours.fileno()]) == 1
        assert [fd for fd, _ in epoll.poll(0)] == [ours.fileno()]  # what goes with it is as it was
        assert [epoll.poll(0) for _ in range(3)] == [[], [], []]
        epoll.unregister(ours)
