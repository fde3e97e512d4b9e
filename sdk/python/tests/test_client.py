"""Parts of the client that need no server of ours: addresses, configuration, errors, log lines, ignore rules."""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Callable, Iterator, Optional

import pytest
from conftest import Home

import sky
from sky import exceptions
from sky.client import config, endpoint, ignore, transport, upload
from sky.client.endpoint import Endpoint
from sky.client.stream import _Lines


@pytest.mark.parametrize(
    ("text", "url", "credentials"),
    [
        ("http://127.0.0.1:46580/", "http://127.0.0.1:46580", None),
        ("https://user:p%40ss@sky.example/prefix/", "https://sky.example/prefix", "user:p@ss"),
        ("http://[::1]:46580", "http://[::1]:46580", None),
        ("http://host:80/a/b", "http://host/a/b", None),
        ("unix:///run/x.sock", "unix:///run/x.sock", None),
    ],
)
def test_addresses(text: str, url: str, credentials: Optional[str]) -> None:
    parsed = Endpoint.parse(text)
    assert (parsed.url, parsed.credentials) == (url, credentials)


@pytest.mark.parametrize("text", ["", "host", "ftp://x", "http://", "http://a:b:c", "http://h:99999", "http://h?x"])
def test_wrong_addresses_are_not_repeated(text: str) -> None:
    with pytest.raises(exceptions.InvalidRequestError, match="not a valid address"):
        Endpoint.parse(text)


def test_only_literal_addresses_are_local() -> None:
    for url, local in [
        ("http://127.0.0.1:46580", True),
        ("http://localhost:46580/", True),
        ("https://127.0.0.1:46580", False),
        ("http://127.0.0.1:46581", False),
        ("http://sky.example:46580", False),
    ]:
        assert endpoint.is_local(url, 46580) is local, url


def test_configuration_names_the_server(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert endpoint.resolve().endpoint.scheme == "unix"
    (home.path / ".sky").mkdir()
    file = home.path / ".sky/config.yaml"
    file.write_text(
        "api_server:\n  endpoint: https://sky.example  # ours\n  service_account_token: sky_x\naws: {profile: p}\n"
    )
    target = endpoint.resolve()
    assert (target.url, target.token, target.local) == ("https://sky.example", "sky_x", False)
    assert config.for_requests(target.config) == {"aws": {"profile": "p"}}
    monkeypatch.setenv("SKYPILOT_API_SERVER_ENDPOINT", "http://other:1")
    assert endpoint.resolve().url == "http://other:1"
    (home.path / ".sky.yaml").write_text("aws: {region: r}\n")
    assert config.for_requests(endpoint.resolve().config) == {"aws": {"profile": "p", "region": "r"}}
    file.write_text("a: [\n")
    with pytest.raises(exceptions.InvalidSkyPilotConfigError, match=r"config.yaml: line 1"):
        endpoint.resolve()


def test_only_the_own_keys_of_the_file_change() -> None:
    keys = {"endpoint": "https://sky.example", "service_account_token": "sky_x"}
    block = 'api_server:\n  endpoint: "https://sky.example"\n  service_account_token: "sky_x"\n'
    assert config.edited("", keys) == block
    assert config.edited(block, dict.fromkeys(keys)) == ""
    text = "# mine\naws:\n  profile: p\napi_server:\n  # note\n  endpoint: http://old\n  x: 4\n\njobs:\n  bucket: b\n"
    assert config.edited(text, keys) == (
        '# mine\naws:\n  profile: p\napi_server:\n  endpoint: "https://sky.example"\n'
        '  service_account_token: "sky_x"\n  # note\n  x: 4\n\njobs:\n  bucket: b\n'
    )


def test_errors_carry_what_the_server_said() -> None:
    error = exceptions.from_error(
        {
            "kind": "cluster_not_up",
            "message": "cluster `a` is stopped",
            "chain": ["because"],
            "hints": ["sky start a"],
            "attributes": {"cluster_status": "STOPPED"},
            "retry_after": {"secs": 1, "nanos": 500_000_000},
        }
    )
    assert isinstance(error, exceptions.ClusterNotUpError)
    assert (error.code, error.message, error.hints) == (
        "cluster_not_up",
        "cluster `a` is stopped: because",
        ["sky start a"],
    )
    assert (error.cluster_status, error.retry_after) == ("STOPPED", 1.5)
    assert str(error) == "cluster `a` is stopped: because\nsky start a"
    coloured = {"object": "gASV", "type": "ClusterDoesNotExist", "message": "\x1b[33mgone\x1b[0m"}
    plain = exceptions.from_payload(coloured)
    assert plain.message == "gone"
    assert isinstance(plain, exceptions.ClusterDoesNotExist)
    assert isinstance(plain, ValueError)
    assert type(exceptions.from_payload({"type": "StorageError", "message": "x"})) is exceptions.StorageError
    assert exceptions.JobExitCode is sky.JobExitCode
    assert isinstance(exceptions.from_payload({"type": "ValueError", "message": "x"}), ValueError)
    assert type(exceptions.from_payload({"type": "Weird", "message": "x"})) is exceptions.InternalServerError
    history = exceptions.from_error(
        {
            "kind": "resources_unavailable",
            "message": "nothing fits",
            "attributes": {"failover_history": [{"kind": "no_cloud_access", "message": "a"}, "b"]},
        }
    )
    assert isinstance(history, exceptions.ResourcesUnavailableError)
    first, second = history.failover_history
    assert isinstance(first, exceptions.NoCloudAccessError)
    assert second.message == "b"


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (403, '{"detail": "not yours"}', exceptions.PermissionDeniedError, "not yours"),
        (401, "", exceptions.ApiServerAuthenticationError, "the server answered with status 401"),
        (422, '{"detail": [{"loc": ["body", "a"], "msg": "required"}]}', exceptions.InvalidRequestError, "a: required"),
        (400, '{"error": "version_mismatch", "message": "too old"}', exceptions.APIVersionMismatchError, "too old"),
        (502, "<title>502 Bad\n Gateway</title>", exceptions.ApiServerConnectionError, "502 Bad Gateway"),
        (400, '{"detail": {"type": "NotSupportedError", "message": "no"}}', exceptions.NotSupportedError, "no"),
    ],
)
def test_other_servers_are_understood(status: int, body: str, kind: type, message: str) -> None:
    error = transport.error_of_body(status, body.encode(), None)
    assert type(error) is kind
    assert error.message == message


def control(code: str) -> bytes:
    return f'<sky-payload>"<{code}></{code}>"</sky-payload>\n'.encode()


def test_control_lines_are_taken_out_wherever_the_log_is_cut() -> None:
    log = b"a\n" + control("rich_init") + b"50 %\rb\n<sky-payment>\n" + control("heartbeat") + "é".encode() + b"end"
    for step in range(1, len(log)):
        lines = _Lines()
        out = b"".join(lines.push(log[at : at + step]) for at in range(0, len(log), step)) + lines.finish()
        assert out == b"a\n50 %\rb\n<sky-payment>\n" + "é".encode() + b"end", step


def test_text_goes_on_before_its_line_ends() -> None:
    lines = _Lines()
    assert lines.push(b"progress 5") == b"progress 5"
    assert lines.push(b"<sky-payload") == b"<sky-payload"
    assert lines.push(b"\n<sky-pay") == b"\n"
    assert lines.push(b"ment") == b"<sky-payment"


def tree(root: Path, files: list[tuple[str, str]]) -> list[str]:
    for name, text in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return [str(Path(entry.path).relative_to(root)) for entry in ignore.walk(str(root))]


def test_gitignore_decides_without_a_skyignore(tmp_path: Path) -> None:
    assert tree(
        tmp_path,
        [
            (".gitignore", "*.log\n/build\n!keep.log\ndeep/**/x\n[ab].txt\n# note\ncache/\n"),
            ("a.log", ""),
            ("keep.log", ""),
            ("build/x", ""),
            ("src/build/y", ""),
            ("src/b.log", ""),
            ("src/.gitignore", "*.rs\n!c.rs\n"),
            ("src/c.rs", ""),
            ("src/d.rs", ""),
            ("deep/1/2/x", ""),
            ("deep/1/z", ""),
            ("a.txt", ""),
            ("c.txt", ""),
            ("sub/cache/z", ""),
            (".git/HEAD", ""),
        ],
    ) == [
        ".git",
        ".git/HEAD",
        ".gitignore",
        "c.txt",
        "deep",
        "deep/1",
        "deep/1/2",
        "deep/1/z",
        "keep.log",
        "src",
        "src/.gitignore",
        "src/build",
        "src/build/y",
        "src/c.rs",
        "sub",
    ]


def test_skyignore_replaces_gitignore(tmp_path: Path) -> None:
    files = [
        (".gitignore", "*.log\n"),
        (".skyignore", "*.tmp\n.git\n"),
        ("a.log", ""),
        ("b.tmp", ""),
        (".git/HEAD", ""),
    ]
    assert tree(tmp_path, files) == [".gitignore", ".skyignore", "a.log"]


def test_the_upload_is_named_by_its_content(tmp_path: Path) -> None:
    root = tmp_path / "work"
    (root / "empty").mkdir(parents=True)
    (root / "a.sh").write_text("hello")
    (root / "a.sh").chmod(0o755)
    (root / "link").symlink_to(root / "a.sh")
    archive = io.BytesIO()
    blob = upload.pack([str(root)], archive)
    base = str(root).strip("/")
    expected = hashlib.sha256()
    for name, content in [("/", b""), ("/a.sh", b"hello"), ("/empty/", b""), ("/link", b"a.sh")]:
        expected.update((base + name).encode() + hashlib.sha256(content).digest())
    assert blob == expected.hexdigest()
    with zipfile.ZipFile(archive) as file:
        assert file.getinfo(base + "/a.sh").external_attr >> 16 & 0o777 == 0o755
        assert file.getinfo(base + "/link").external_attr >> 28 == 0xA


#: What a stranger was asked.
PATHS: list[str] = []


@pytest.fixture
def stranger(home: Home) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A server that answers every GET with a status and a document."""
    answer: dict[str, Any] = {}

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            PATHS.append(self.path)
            body = json.dumps(answer["body"]).encode()
            self.send_response(answer["status"])
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    os.environ["SKYPILOT_API_SERVER_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
    yield answer.update
    server.shutdown()
    server.server_close()


def test_a_prefix_stands_before_every_path(
    stranger: Callable[[dict[str, Any]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger({"status": 200, "body": {"status": "healthy", "api_version": "62"}})
    monkeypatch.setenv("SKYPILOT_API_SERVER_ENDPOINT", os.environ["SKYPILOT_API_SERVER_ENDPOINT"] + "/pre/fix/")
    assert sky.api_info().status == "healthy"
    assert PATHS[-1] == "/pre/fix/api/health"


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (200, {"status": "healthy", "api_version": "11"}, exceptions.APIVersionMismatchError, "is too old"),
        (200, {"hello": "world"}, exceptions.APIVersionMismatchError, "is not an API server"),
        (404, {}, exceptions.ApiServerConnectionError, "is not an API server"),
        (200, {"status": "needs_auth"}, exceptions.ApiServerAuthenticationError, "demands credentials"),
        (
            400,
            {"error": "version_mismatch", "message": "your client is older: upgrade it"},
            exceptions.APIVersionMismatchError,
            "your client is older: upgrade it",
        ),
    ],
)
def test_servers_that_do_not_fit_get_one_sentence(
    stranger: Callable[[dict[str, Any]], None], status: int, body: Any, kind: type[Exception], words: str
) -> None:
    stranger({"status": status, "body": body})
    with pytest.raises(kind, match=words):
        sky.status()


def test_nobody_listens(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from conftest import free_port

    monkeypatch.setenv("SKYPILOT_API_SERVER_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(exceptions.ApiServerConnectionError, match="cannot reach the API server at http"):
        sky.status()


def test_without_the_binary_the_local_server_is_not_started(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKY_BINARY", "/nowhere/sky")
    with pytest.raises(exceptions.ApiServerConnectionError, match="SKY_BINARY names `/nowhere/sky`") as error:
        sky.status()
    assert any("install sky" in hint for hint in error.value.hints)


def test_the_command_line_of_skypilot_is_not_asked_to_start_a_server(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = home.path / "sky"
    other.write_text("#!/bin/sh\necho skypilot, version 0.14.1\n")
    other.chmod(0o755)
    monkeypatch.setenv("SKY_BINARY", str(other))
    with pytest.raises(exceptions.ApiServerConnectionError, match="is SkyPilot's command line") as error:
        sky.status()
    assert "SKY_BINARY=" in error.value.hints[0]
    other.write_text("#!/bin/sh\n[ $1 = --version ] || { echo no room >&2; exit 3; }\n")
    with pytest.raises(exceptions.ApiServerConnectionError, match=r"`sky api start` failed .*3.*: no room"):
        sky.status()
    monkeypatch.setenv("SKYPILOT_DISABLE_LOCAL_API_SERVER", "1")
    with pytest.raises(exceptions.ApiServerConnectionError, match="forbids to start one"):
        sky.status()


def test_a_busy_server_is_asked_again(home: Home) -> None:
    from sky.client import session

    made = session.unchecked()
    answers: list[Any] = [
        exceptions.ServerTemporarilyUnavailableError("busy", retry_after=0.01),
        exceptions.ServerTemporarilyUnavailableError("busy", retry_after=0.01),
        "done",
    ]

    def once() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    assert made.patiently(once, repeat=False) == "done"
    # What may have been done is not done again, unless that is harmless.
    answers[:] = [exceptions.ApiServerConnectionError("gone"), "done"]
    with pytest.raises(exceptions.ApiServerConnectionError):
        made.patiently(once, repeat=False)
    assert answers == ["done"]


def test_states_of_newer_servers_are_taken_as_written() -> None:
    state = sky.JobStatus("FROZEN")
    assert state == "FROZEN" and str(state) == "FROZEN" and not state.is_terminal()
    assert sky.JobStatus("FAILED_SOMEHOW").is_terminal()
    assert sky.ClusterStatus("UP") is sky.ClusterStatus.UP
    with pytest.raises(ValueError, match="forced"):
        sky.StatusRefreshMode("forced")


def test_results_of_all_servers_are_read() -> None:
    from sky import results

    rows = [{"status": "RECOVERING", "job_id": 3, "unknown": 1}]
    for shape in (rows, {"jobs": rows, "total": 1}):
        (record,) = results.read("sky.jobs.queue_v2", shape)
        assert record.job_id == 3 and record.status is sky.ManagedJobStatus.RECOVERING
    assert results.read("sky.launch", {"job_id": 1, "handle": "gASV"}) == (1, None)
    assert results.read("sky.launch", None) == (None, None)
    assert results.read("sky.start", "gASV") is None
    (cluster,) = results.read("sky.status", [{"name": "c", "status": "UP", "launched_at": 1, "handle": "gASV"}])
    assert cluster.handle is None and cluster.status is sky.ClusterStatus.UP
    offers = results.read("sky.list_accelerators", {"T4": [["AWS", "g4", "T4", 1.0, 4, 16, 16, 0.5, 0.2, "r"]]})
    assert offers["T4"][0].price == 0.5
    (cost,) = results.read("sky.cost_report", [{"name": "c", "resources": "gASV", "usage_intervals": [[1, None]]}])
    assert cost.resources is None and cost.usage_intervals == [(1, None)]
    assert results.read("sky.endpoints", {"80": "http://x"}) == {80: "http://x"}
    assert results.read("sky.something", {"a": 1}) == {"a": 1}
