"""Following a log over connections that break, without a server: frames, plain text, gaps and repetitions."""

from __future__ import annotations

import io
import json
import struct
from typing import Any, Optional

import pytest
from conftest import Home

from sky import exceptions
from sky.client import session, stream

FRAMES = "application/x-sky-frames"


def frame(kind: int, offset: int, payload: bytes) -> bytes:
    return struct.pack(">BQI", kind, offset, len(payload)) + payload


def data(offset: int, text: str) -> bytes:
    return frame(1, offset, text.encode())


def end(offset: int, **outcome: Any) -> bytes:
    return frame(3, offset, json.dumps(outcome).encode())


class Answer:
    """What a connection brings before it ends."""

    def __init__(self, body: bytes, kind: str = FRAMES) -> None:
        self.body = io.BytesIO(body)
        self.kind = kind

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def header(self, _name: str) -> str:
        return self.kind

    def patience(self, _seconds: float) -> None:
        pass

    def read(self, amount: int) -> bytes:
        return self.body.read(amount)

    def read_some(self) -> bytes:
        return self.body.read(7)


class Connections:
    """Connections one after the other; remembers from which byte each was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[Optional[int]] = []

    def __call__(self, offset: Optional[int]) -> Any:
        self.asked.append(offset)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def followed(home: Home, monkeypatch: pytest.MonkeyPatch) -> Any:
    made = session.unchecked()
    monkeypatch.setattr(made, "wait_out", lambda *_: None)

    def follow(*answers: Any) -> tuple[str, stream.Follower, Connections]:
        connections = Connections(*answers)
        follower = stream.Follower(made, connections)
        return "".join(follower), follower, connections

    return follow


def test_frames_go_on_at_the_byte(followed: Any) -> None:
    text, follower, connections = followed(
        Answer(data(100, "é\nb") + frame(2, 104, b"") + data(104, "c")[:9]),
        exceptions.ApiServerConnectionError("away"),
        Answer(data(104, "cd\n")[:5]),
        Answer(data(102, "\nbcd\n") + end(108, outcome="interrupted", reason="stop")),
        Answer(data(107, "e") + end(108, outcome="job", status="SUCCEEDED", job_id=1)),
    )
    assert text == "é\nbcd\ne"
    assert follower.outcome == {"outcome": "job", "status": "SUCCEEDED", "job_id": 1}
    # The last connection repeats nothing: the one before it has brought everything up to 107.
    assert connections.asked == [None, 104, 104, 104, 107]


def test_a_character_may_be_cut_between_connections(followed: Any) -> None:
    whole = "é".encode()
    text, _, _ = followed(Answer(frame(1, 0, whole[:1])), Answer(frame(1, 1, whole[1:]) + end(2, outcome="file")))
    assert text == "é"


def test_a_gap_is_an_error(followed: Any) -> None:
    with pytest.raises(exceptions.InternalServerError, match="left out bytes 1 to 5"):
        followed(Answer(data(0, "a") + data(5, "b")))


def test_a_frame_without_bounds_is_refused(followed: Any) -> None:
    with pytest.raises(exceptions.InternalServerError, match="frame of"):
        followed(Answer(struct.pack(">BQI", 1, 0, 1 << 30)))


def test_errors_that_stay_end_it(followed: Any) -> None:
    with pytest.raises(exceptions.ClusterDoesNotExist):
        followed(Answer(data(0, "a")), exceptions.ClusterDoesNotExist("gone"))


def test_plain_text_is_not_repeated_after_the_server_asks_to_come_back(followed: Any) -> None:
    retry = '<sky-payload>"<retry></retry>"</sky-payload>\n'
    beat = '<sky-payload>"<heartbeat></heartbeat>"</sky-payload>\n'
    text, follower, _ = followed(
        Answer(("one\n" + beat + "two\n" + retry).encode(), "text/plain"),
        exceptions.ServerTemporarilyUnavailableError("busy"),
        Answer(("one\ntwo\n" + beat + "three\n").encode(), "text/plain"),
    )
    assert text == "one\ntwo\nthree\n"
    assert follower.outcome is None
