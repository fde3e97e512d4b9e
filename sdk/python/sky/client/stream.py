"""Following a log to its end: at the exact byte again after every broken connection.

A cursor is a byte offset in the log. It moves when bytes were handed on, so nothing is repeated or left out.
SkyPilot's server knows no bytes; there the whole lines that were handed on already are skipped.
"""

from __future__ import annotations

import codecs
import json
import struct
import time
from typing import TYPE_CHECKING, Any, Callable, Iterator, Optional, TextIO

from .. import exceptions
from .session import Pauses, Session

if TYPE_CHECKING:
    from .transport import Answer

#: Content type of a framed stream: kind (1 byte), offset (8), length (4), payload; big-endian.
_FRAMES = "application/x-sky-frames"
_HEADER = struct.Struct(">BQI")
_LONGEST_FRAME = 256 * 1024
_DATA, _HEARTBEAT, _END = 1, 2, 3
#: Servers show life every 30 seconds; a connection silent for so long is dead.
_SILENCE = 90.0
#: How long a server may be away, in seconds.
_PATIENCE = 900.0
#: How a control line begins, and the longest there is.
_CONTROL = b"<sky-payload"
_LONGEST_CONTROL = 64 * 1024

#: Opens the stream from a byte on.
Opening = Callable[[Optional[int]], "Answer"]


class _Retry(exceptions.SkyError):
    """The server asked to come back."""


class Follower:
    """Follows one log; iterating gives its text in pieces. Afterwards ``outcome`` says how what was followed stands."""

    def __init__(self, session: Session, opening: Opening) -> None:
        self._session = session
        self._opening = opening
        self._offset: Optional[int] = None
        self._lines = _Lines()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        #: ``{"outcome": "job", "status": "SUCCEEDED", …}``; ``None`` where the server does not say (SkyPilot's).
        self.outcome: Optional[dict[str, Any]] = None

    def __iter__(self) -> Iterator[str]:
        pauses = Pauses()
        last_progress = time.monotonic()
        while True:
            try:
                for piece in self._attempt():
                    pauses, last_progress = Pauses(), time.monotonic()
                    if piece:
                        yield self._decoder.decode(piece)
                break
            except (
                exceptions.ApiServerConnectionError,
                exceptions.RequestTimeoutError,
                exceptions.ServerTemporarilyUnavailableError,
                _Retry,
            ) as error:
                if time.monotonic() - last_progress > _PATIENCE:
                    raise
                self._session.wait_out(error, pauses)
        yield self._decoder.decode(self._lines.finish(), True)

    def _attempt(self) -> Iterator[bytes]:
        """Follows over one connection."""
        with self._opening(self._offset) as answer:
            answer.patience(_SILENCE)
            if (answer.header("content-type") or "").startswith(_FRAMES):
                yield from self._framed(answer)
            else:
                yield from self._plain(answer)

    def _framed(self, answer: Answer) -> Iterator[bytes]:
        while True:
            header = answer.read(_HEADER.size)
            if len(header) < _HEADER.size:
                raise exceptions.ApiServerConnectionError("the log stream broke off")
            kind, offset, length = _HEADER.unpack(header)
            if length > _LONGEST_FRAME:
                raise exceptions.InternalServerError(f"the log stream has a frame of {length} bytes")
            payload = answer.read(length) if length else b""
            if len(payload) < length:
                raise exceptions.ApiServerConnectionError("the log stream broke off")
            if kind == _DATA:
                data = self._unseen(offset, payload)
                self._offset = offset + len(payload)
                yield self._lines.push(data)
            elif kind == _HEARTBEAT:
                yield b""
            elif kind == _END:
                outcome = json.loads(payload)
                if outcome.get("outcome") == "interrupted":
                    raise _Retry(f"the log stream was interrupted: {outcome.get('reason', '')}")
                self.outcome = outcome
                return

    def _unseen(self, offset: int, data: bytes) -> bytes:
        """Returns the part of a frame that was not handed on yet; a gap is an error."""
        if self._offset is None:
            return data
        if offset > self._offset:
            raise exceptions.InternalServerError(f"the log stream left out bytes {self._offset} to {offset}")
        return data[self._offset - offset :]

    def _plain(self, answer: Answer) -> Iterator[bytes]:
        skip = self._lines.forget_partial()
        while True:
            data = answer.read_some()
            if not data:
                return
            while skip and b"\n" in data:
                line, data = data.split(b"\n", 1)
                skip -= not line.startswith(_CONTROL)
            if not skip:
                yield self._lines.push(data)
            if self._lines.take_retry():
                raise _Retry("the server asked to come back")


class _Lines:
    """Takes control lines out of a log. Text goes on at once, unless it may be the beginning of a control line."""

    def __init__(self) -> None:
        self._held = b""
        self._mid_line = False
        self._count = 0
        self._retry = False

    def push(self, data: bytes) -> bytes:
        """Takes bytes and returns those that are text."""
        out = bytearray()
        for line in (self._held + data).splitlines(keepends=True):
            self._take(line, out)
        return bytes(out)

    def _take(self, line: bytes, out: bytearray) -> None:
        self._held = b""
        ends = line.endswith((b"\n", b"\r"))
        if not self._mid_line:
            control = _control(line) if ends else None
            if control is not None:
                self._retry = self._retry or control == "retry"
                return
            may_be = _CONTROL.startswith(line) or line.startswith(_CONTROL)
            if not ends and may_be and len(line) < _LONGEST_CONTROL:
                self._held = line
                return
        out += line
        self._mid_line = not ends
        self._count += line.endswith(b"\n")

    def finish(self) -> bytes:
        """Returns what is held: the stream is over."""
        held, self._held = self._held, b""
        return held

    def forget_partial(self) -> int:
        """Forgets a line that was cut off; returns how many whole lines were handed on."""
        self._held = b""
        return self._count

    def take_retry(self) -> bool:
        """Returns whether the server asked to come back, once."""
        retry, self._retry = self._retry, False
        return retry


def _control(line: bytes) -> Optional[str]:
    """Returns the code of a control line; ``None`` when it is text."""
    text = line.strip()
    if not (text.startswith(_CONTROL) and text.endswith(b"</sky-payload>")):
        return None
    try:
        value = json.loads(text[text.index(b">") + 1 : -len(b"</sky-payload>")])
    except ValueError:
        return None
    return value[1:].split(">", 1)[0] if isinstance(value, str) else "unknown"


def follow_request(
    session: Session,
    request_id: Optional[str] = None,
    *,
    log_path: Optional[str] = None,
    tail: Optional[int] = None,
    follow: bool = True,
) -> Follower:
    """Follows the log of a request, or a log of the server."""

    def opening(offset: Optional[int]) -> Answer:
        query = {
            "request_id": request_id,
            "log_path": log_path,
            "tail": tail,
            "follow": follow,
            "format": "console",
            "offset": offset,
        }
        return session.call("GET", "/api/stream", query=query, headers={"accept": _FRAMES}, timeout=_SILENCE)

    return Follower(session, opening)


def follow_post(session: Session, path: str, body: dict[str, Any], **query: Any) -> Follower:
    """Follows a log whose stream is the answer of a POST."""

    def opening(offset: Optional[int]) -> Answer:
        return session.call(
            "POST",
            path,
            query={**query, "offset": offset},
            body=body,
            headers={"accept": _FRAMES},
            timeout=_SILENCE,
        )

    return Follower(session, opening)


def show(follower: Follower, output: Optional[TextIO]) -> None:
    """Writes a log to a stream, standard output unless named."""
    for piece in follower:
        if piece:
            write(output, piece)


def write(output: Optional[TextIO], text: str) -> None:
    """Writes text at once."""
    import sys

    target = sys.stdout if output is None else output
    target.write(text)
    target.flush()
