"""What importing costs, and that names, stub and modules agree."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

import sky

PACKAGE = Path(sky.__file__).parent
#: Seconds of processor time, the best of several runs: others may be using the machine.
BUDGET = 0.050


def seconds(statement: str, cache: Path) -> float:
    """Returns what a statement costs a process that finds compiled modules, as after an installation."""
    program = f"import time; begin = time.process_time(); {statement}; print(time.process_time() - begin)"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "PYTHONPYCACHEPREFIX": str(cache)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", program]
    runs = [subprocess.run(command, env=environment, check=True, capture_output=True, text=True) for _ in range(6)]
    return min(float(run.stdout) for run in runs)


def test_importing_takes_less_than_50_ms(tmp_path: Path) -> None:
    bare = seconds("import sky", tmp_path)
    used = seconds("import sky; sky.Task, sky.Resources, sky.launch, sky.get, sky.tail_logs", tmp_path)
    print(f"import sky: {bare * 1000:.1f} ms, with what a program uses: {used * 1000:.1f} ms")
    assert bare < BUDGET / 5
    assert used < BUDGET


@pytest.mark.parametrize("module", ["asyncio", "ssl", "zipfile", "subprocess", "http.client", "dataclasses"])
def test_importing_is_lazy(module: str) -> None:
    program = f"import sys, sky; sky.__version__; sys.exit({module!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)}, check=True)


def test_using_calls_loads_neither_asyncio_nor_zipfile() -> None:
    program = (
        "import sys, sky; sky.launch, sky.Task, sky.jobs.launch, sky.serve.up;"
        "sys.exit(bool({'asyncio', 'zipfile', 'webbrowser', 'hashlib'} & sys.modules.keys()))"
    )
    subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)}, check=True)


def test_every_name_exists_and_is_in_the_stub() -> None:
    stub = set()
    for node in ast.parse((PACKAGE / "__init__.pyi").read_text()).body:
        if isinstance(node, ast.ImportFrom):
            stub.update(alias.asname for alias in node.names)
    assert stub == set(sky.__all__)
    for name in sky.__all__:
        assert getattr(sky, name) is not None, name
    assert set(sky.__all__) <= set(dir(sky))
    with pytest.raises(AttributeError, match="no attribute 'lunch'"):
        sky.lunch  # type: ignore[attr-defined]  # noqa: B018


def test_nothing_is_unpickled() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert "import pickle" not in path.read_text(), path


#: Routes that are no business of this package: operators, shells, browsers, what SkyPilot's client asks besides.
OTHERS = re.compile(
    r"/(users|workspaces|metrics|hook_logs|api/completion|jobs/events|jobs/queue$|api/openapi|auth/|api/v1/auth/|token$|upload$"
    r"|kubernetes_node_info|realtime_kubernetes|ssh_node_pools$|ssh_node_pools/\{name\})"
)


def test_every_route_of_the_server_has_a_call() -> None:
    routes = set()
    for path in (REPOSITORY / "src/server/routes").glob("*.rs"):
        text = "" if path.name == "tests.rs" else path.read_text().split("#[cfg(test)]")[0]
        routes.update(re.findall(r"\.(?:get|post|verb::<\w+>)\(\s*\"(/[^\"]+)\"", text))
        if path.name == "unsupported.rs":
            routes.update(re.findall(r"\"(/(?:jobs|serve)/[^\"]+)\"", text))
    assert len(routes) > 40
    source = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    missing = [route for route in sorted(routes) if f'"{route}"' not in source and not OTHERS.match(route)]
    assert missing == []


def test_the_release_is_that_of_the_binary() -> None:
    cargo = (REPOSITORY / "Cargo.toml").read_text()
    assert f'\nversion = "{sky.__version__}"\n' in cargo
