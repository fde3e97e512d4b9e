"""Ending calls of a thread from outside, for the asyncio twin: its connections are cut and nothing is tried again."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Optional

from ..exceptions import RequestInterruptedError

if TYPE_CHECKING:
    import socket

_current = threading.local()


class Scope:
    """What a thread has open on behalf of one call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._ended = threading.Event()

    def __enter__(self) -> Scope:
        _current.scope = self
        return self

    def __exit__(self, *exc: object) -> None:
        _current.scope = None

    def end(self) -> None:
        """Cuts every connection; the thread comes out with an error."""
        self._ended.set()
        with self._lock:
            for one in self._sockets:
                _cut(one)

    def check(self) -> None:
        """Raises when the call was given up."""
        if self._ended.is_set():
            raise RequestInterruptedError("the call was given up")

    def wait(self, seconds: float) -> None:
        """Waits so many seconds, or until the call is given up."""
        self._ended.wait(seconds)
        self.check()

    def add(self, one: socket.socket) -> None:
        """Takes note of a connection."""
        with self._lock:
            self._sockets.add(one)
        if self._ended.is_set():
            _cut(one)

    def discard(self, one: socket.socket) -> None:
        """Forgets a connection."""
        with self._lock:
            self._sockets.discard(one)


def current() -> Scope:
    """Returns the scope of this thread; one that nobody ends where there is none."""
    scope: Optional[Scope] = getattr(_current, "scope", None)
    return scope if scope is not None else Scope()


def _cut(one: socket.socket) -> None:
    import socket

    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
