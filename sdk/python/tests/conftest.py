"""A home of its own for each test that wants one, and the real server in it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Iterator, Optional

import pytest

REPOSITORY = Path(__file__).parents[3]
sys.path.insert(0, str(Path(__file__).parents[1]))


def find_binary() -> str:
    """Returns the binary to test with: the one that is named, else the newest one that was built."""
    named = os.environ.get("SKY_BINARY")
    if named:
        return str(Path(named).resolve())
    # The documentation has a directory of this name.
    files = (path for path in REPOSITORY.glob("target/*/*/sky") if path.is_file())
    built = sorted(files, key=lambda path: path.stat().st_mtime)
    if not built:
        pytest.exit("no sky binary: build it, or name it in SKY_BINARY", returncode=3)
    return str(built[-1])


BINARY = find_binary()


def free_port() -> int:
    """Returns a TCP port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    """Waits for a condition of another process."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)


class Home:
    """An isolated home directory; a server that was started in it is ended with it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.port = free_port()
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("SKY", "SKYPILOT_"))}
        self.environment = {
            **kept,
            "HOME": str(path),
            "SKY_BINARY": BINARY,
            "SKYPILOT_API_SERVER_LOCAL_PORT": str(self.port),
        }

    @property
    def socket(self) -> Path:
        return self.path / ".sky/api_server/api.sock"

    def enter(self) -> None:
        """Makes this process live there."""
        os.environ.clear()
        os.environ.update(self.environment)
        os.chdir(self.path)
        session = sys.modules.get("sky.client.session")
        if session is not None:
            session.forget()

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs the binary."""
        return subprocess.run(
            [BINARY, *words], env=self.environment, check=check, capture_output=True, text=True, timeout=60
        )

    @contextlib.contextmanager
    def held(self, cluster: str) -> Iterator[None]:
        """Stops the agent of a cluster, so that requests to it stay until it goes on."""
        agents = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes().decode(errors="replace")
                if "__agent" in line and f"{self.path}/.sky/api_server/local/{cluster}-" in line:
                    agents.append(int(entry.name))
        assert agents, f"no agent of {cluster}"
        for pid in agents:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in agents:
                os.kill(pid, signal.SIGCONT)

    def server_pid(self) -> Optional[int]:
        """Returns the process of the server."""
        import sky

        return sky.api_info().pid

    def kill_server(self) -> int:
        """Ends the server as a crash would; returns which process it was."""
        pid = self.server_pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        return pid

    def close(self) -> None:
        """Removes what runs there."""
        if self.socket.exists():
            self.run("down", "-y", "-a", check=False)
            self.run("api", "stop", check=False)
        shutil.rmtree(self.path, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """One home, one server and one cluster `shared` for tests that do not mind each other."""
    home = Home(tmp_path_factory.mktemp("home"))
    yield home
    home.close()


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Puts environment and directory back."""
    environment, directory = dict(os.environ), os.getcwd()
    yield
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)


@pytest.fixture
def shared(shared_home: Home) -> Home:
    """This process lives in the shared home."""
    shared_home.enter()
    return shared_home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """This process lives in a home of its own."""
    made = Home(tmp_path)
    made.enter()
    yield made
    made.close()


@pytest.fixture
def cluster(shared: Home) -> str:
    """The name of a cluster that is up."""
    import sky

    if not sky.get(sky.status("shared")):
        sky.get(sky.launch(sky.Task(resources=sky.Resources(cloud=sky.Local())), cluster_name="shared"))
    return "shared"


class Team:
    """A server for a team in a home of its own."""

    def __init__(self, path: Path, *options: str) -> None:
        port = free_port()
        self.url = f"{'https' if options else 'http'}://127.0.0.1:{port}"
        said = path / "said"
        with said.open("w") as output:
            self.process = subprocess.Popen(
                # Whoever listens on loopback only trusts everybody who reaches it.
                [BINARY, "__serve", "--bind", f"0.0.0.0:{port}", *options],
                env=Home(path).environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_until(lambda: re.search(r"\bsky_\S+", said.read_text()) is not None, "the admin token is printed")
        found = re.search(r"\bsky_\S+", said.read_text())
        assert found is not None
        self.token = found.group()

    def add_user(self, name: str, password: str) -> None:
        """Makes an account."""
        from sky.client import endpoint, session

        admin = session.Session(endpoint.at(self.url, self.token))
        body = {"username": name, "password": password, "role": "user"}
        with admin.call("POST", "/users/create", body=body) as answer:
            answer.read()

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture
def team(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    made = Team(tmp_path_factory.mktemp("server"))
    yield made
    import sky

    try:
        if os.environ.get("SKYPILOT_API_SERVER_ENDPOINT") or (home.path / ".sky/config.yaml").exists():
            for record in sky.get(sky.status()):
                sky.get(sky.down(record.name, purge=True))
    finally:
        made.close()
