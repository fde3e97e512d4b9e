"""What importing costs, and that names, stub and modules agree."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sky

PACKAGE = Path(sky.__file__).parent
#: Seconds of processor time, the best of several runs: others may be using the machine.
BUDGET = 0.050


def seconds(statement: str) -> float:
    program = f"import time; begin = time.process_time(); {statement}; print(time.process_time() - begin)"
    runs = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
            check=True,
            capture_output=True,
            text=True,
        )
        for _ in range(5)
    ]
    return min(float(run.stdout) for run in runs)


def test_importing_takes_less_than_50_ms() -> None:
    assert seconds("import sky") < BUDGET / 5
    assert seconds("import sky; sky.Task, sky.Resources, sky.launch, sky.get, sky.tail_logs") < BUDGET


@pytest.mark.parametrize("module", ["asyncio", "ssl", "zipfile", "subprocess", "http.client", "dataclasses"])
def test_importing_is_lazy(module: str) -> None:
    program = f"import sys, sky; sky.__version__; sys.exit({module!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)}, check=True)


def test_using_calls_loads_neither_asyncio_nor_zipfile() -> None:
    program = "import sys, sky; sky.launch, sky.Task; sys.exit(bool({'asyncio', 'zipfile'} & sys.modules.keys()))"
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
