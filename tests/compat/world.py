"""A world of its own for each test: home, server, clients. Everything in it ends with it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import Dict, List, Optional

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# The published client takes seconds to start, and several tests share two cores.
PATIENCE = 120
# The release of the published client, without its patches: (0, 14).
RELEASE = tuple(int(part) for part in importlib.metadata.version('skypilot').split('.')[:2])


def binary() -> str:
    """The program under test: the newest debug build, unless the environment names another."""
    named = os.environ.get('SKY_BINARY')
    if named:
        return named
    built = list(ROOT.glob('target/*/debug/sky')) + list(ROOT.glob('target/debug/sky'))
    assert built, 'build the program first: cargo build'
    return str(max(built, key=lambda path: path.stat().st_mtime))


@dataclasses.dataclass
class Ran:
    """What a command printed and how it ended."""
    argv: List[str]
    code: int
    text: str

    def shows(self, *patterns: str) -> 'Ran':
        for pattern in patterns:
            assert re.search(pattern, self.text), f'{pattern!r} is not in what {self.argv} printed:\n{self.text}'
        return self

    def hides(self, *patterns: str) -> 'Ran':
        for pattern in patterns:
            assert not re.search(pattern, self.text), f'{pattern!r} is in what {self.argv} printed:\n{self.text}'
        return self

    def ends(self, code: int) -> 'Ran':
        assert self.code == code, f'{self.argv} ended with {self.code}, not {code}:\n{self.text}'
        return self


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


def plain(text: str) -> str:
    """Text without colours."""
    return re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', text)


class World:
    """A home with a local server on the port that every release of the client knows."""

    def __init__(self) -> None:
        self.dir = tempfile.TemporaryDirectory(prefix='sky-compat-')
        self.home = pathlib.Path(self.dir.name) / 'home'
        self.cwd = pathlib.Path(self.dir.name) / 'cwd'
        self.home.mkdir()
        self.cwd.mkdir()
        self.url = 'http://127.0.0.1:46580'
        self.extra: Dict[str, str] = {}

    def env(self, **more: str) -> Dict[str, str]:
        return {
            'HOME': str(self.home),
            'PATH': f'{pathlib.Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin',
            'LANG': 'C.UTF-8',
            'TERM': 'dumb',
            'COLUMNS': '200',
            'USER': 'tester',
            'SKYPILOT_DISABLE_USAGE_COLLECTION': '1',
            **self.extra,
            **more,
        }

    def file(self, name: str, text: str) -> pathlib.Path:
        path = self.cwd / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def popen(self, argv: List[str], stdin: int = subprocess.DEVNULL, **env: str) -> subprocess.Popen:
        # Whoever runs the tests in the background has Ctrl-C ignored for all that they start.
        def as_in_a_terminal() -> None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)

        return subprocess.Popen(argv,
                                preexec_fn=as_in_a_terminal,
                                cwd=self.cwd,
                                env=self.env(**env),
                                stdin=stdin,
                                stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT,
                                text=True,
                                encoding='utf-8',
                                errors='replace')

    def run(self, argv: List[str], **env: str) -> Ran:
        child = self.popen(argv, **env)
        try:
            text, _ = child.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
            text, _ = child.communicate()
            raise AssertionError(f'{argv} did not end within {PATIENCE} s:\n{text}') from None
        return Ran(argv, child.returncode, plain(text))

    def published(self, *args: str, **env: str) -> Ran:
        """Runs the published command line."""
        return self.run(['sky', *args], **env)

    def ours(self, *args: str, **env: str) -> Ran:
        """Runs our command line."""
        return self.run([binary(), *args], **env)

    def start(self) -> 'World':
        self.ours('api', 'start').ends(0)
        return self

    def close(self) -> None:
        deadline = time.monotonic() + 20
        while True:
            left = self.processes()
            if not left or time.monotonic() > deadline:
                break
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.05)
        self.dir.cleanup()

    def processes(self) -> List[int]:
        """Processes that live in this home."""
        found = []
        for entry in pathlib.Path('/proc').iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                environ = (entry / 'environ').read_bytes()
            except OSError:
                continue
            if f'HOME={self.dir.name}'.encode() in environ:
                found.append(int(entry.name))
        return found


class Team:
    """A team server in the same home: callers need credentials."""

    def __init__(self, world: World) -> None:
        self.world = world
        port = free_port()
        self.url = f'http://127.0.0.1:{port}'
        self.log = pathlib.Path(world.dir.name) / 'team.log'
        with open(self.log, 'wb') as log:
            self.server = subprocess.Popen(
                [binary(), '__serve', '--bind', f'0.0.0.0:{port}', '--state-dir', str(world.home / 'team')],
                cwd=world.cwd,
                env=world.env(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log)
        text = wait_for(lambda: 'server is ready' in self.log.read_text() and self.log.read_text(), 'the start of the server')
        # Shown once, at the first start.
        self.admin = re.search(r'sky_[A-Za-z0-9_-]{43}', plain(str(text))).group(0)


def wait_for(check, what: str, patience: float = 30) -> object:
    """Waits until `check` returns something true, and returns it."""
    deadline = time.monotonic() + patience
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < deadline, f'{what} did not happen within {patience} s'
        time.sleep(0.05)


def first(pattern: str, ran: Ran) -> str:
    match: Optional[re.Match] = re.search(pattern, ran.text)
    assert match, f'{pattern!r} is not in what {ran.argv} printed:\n{ran.text}'
    return match.group(1)
