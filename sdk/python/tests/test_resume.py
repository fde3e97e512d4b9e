"""Streams and submissions survive a server that is killed in the middle."""

from __future__ import annotations

import io
import threading
import time
from random import Random
from typing import Any

from conftest import Home, wait_until

import sky

LINES = 3000


class Watched(io.StringIO):
    """Tells when a text has been written."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self.word = word
        self.seen = threading.Event()

    def write(self, text: str) -> int:
        written = super().write(text)
        if self.word in self.getvalue():
            self.seen.set()
        return written


def numbers(text: str) -> list[int]:
    return [int(line.split()[-1]) for line in text.splitlines() if line.startswith("(") and line.split()[-1].isdigit()]


def in_thread(call: Any) -> tuple[threading.Thread, list[Any]]:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    return thread, results


def test_a_followed_job_goes_on_at_the_byte(home: Home) -> None:
    go = home.path / "go"
    script = f"seq 1 1000; until [ -e {go} ]; do sleep 0.05; done; seq 1001 {LINES}"
    job, _ = sky.get(sky.launch(sky.Task(run=script), cluster_name="c"))
    out = Watched("1000\n")
    thread, results = in_thread(lambda: sky.tail_logs("c", job, output_stream=out))
    assert out.seen.wait(30)
    first = home.kill_server()
    # The follower starts the server again by itself.
    wait_until(lambda: sky.api_info().pid not in (None, first), "another server runs")
    second = home.kill_server()
    go.touch()
    thread.join(60)
    assert results == [0]
    assert home.server_pid() not in (first, second)
    assert numbers(out.getvalue()) == list(range(1, LINES + 1))


def test_a_followed_job_survives_a_server_that_dies_again_and_again(home: Home) -> None:
    script = "for i in $(seq 1 1000); do echo $i; [ $((i % 50)) != 0 ] || sleep 0.1; done"
    job, _ = sky.get(sky.launch(sky.Task(run=script), cluster_name="c"))
    out = io.StringIO()
    thread, results = in_thread(lambda: sky.tail_logs("c", job, output_stream=out))
    seed = time.time_ns()
    print(f"seed {seed}")
    random, kills = Random(seed), 0
    while thread.is_alive():
        thread.join(random.random() * 0.6)
        if thread.is_alive():
            home.kill_server()
            kills += 1
    assert results == [0]
    assert numbers(out.getvalue()) == list(range(1, 1001)), f"after {kills} kills"
    assert kills > 0


def test_a_followed_launch_goes_on(home: Home) -> None:
    go = home.path / "go"
    task = sky.Task(setup=f"seq 1 50; until [ -e {go} ]; do sleep 0.05; done", run="echo after")
    request = sky.launch(task, cluster_name="c")
    out = Watched("Cluster launched")
    thread, results = in_thread(lambda: sky.stream_and_get(request, output_stream=out))
    assert out.seen.wait(30)
    home.kill_server()
    go.touch()
    thread.join(60)
    ((job, handle),) = results
    assert job == 1 and handle is not None
    assert out.getvalue().count("Cluster launched") == 1
    assert sky.tail_logs("c", job, output_stream=io.StringIO()) == 0
    assert len(sky.get(sky.queue("c"))) == 1


def test_a_submission_is_made_once_whatever_happens_to_its_answer(home: Home) -> None:
    sky.get(sky.launch(sky.Task(), cluster_name="c"))
    from sky.client.session import Session
    from sky.client.transport import Answer

    original, lost = Answer.header, []

    def losing(self: Answer, name: str) -> Any:
        if name == "x-skypilot-request-id" and not lost:
            # The server has stored the request; its answer does not arrive.
            lost.append(original(self, name))
            raise sky.exceptions.ApiServerConnectionError("the connection broke")
        return original(self, name)

    Answer.header = losing  # type: ignore[method-assign]
    try:
        request = sky.exec(sky.Task(run="true"), "c")
    finally:
        Answer.header = original  # type: ignore[method-assign]
    assert lost == [request]
    sky.get(request)
    assert len(sky.get(sky.queue("c"))) == 1
    assert Session is not None
