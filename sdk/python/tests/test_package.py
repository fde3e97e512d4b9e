"""The distribution: built by pip, installed in a fresh environment, used as a user's program uses it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Home

PACKAGE = Path(__file__).parents[1]

PROGRAM = """
import sky
task = sky.Task(run="echo hello SkyPilot", resources=sky.Resources(cloud=sky.{cloud}()))
request_id = sky.launch(task, cluster_name="my-cluster")
job_id, handle = sky.stream_and_get(request_id)
sky.tail_logs("my-cluster", job_id, follow=True)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the package."""
    environment = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    pip = [str(environment / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    # A copy: building leaves files beside the sources.
    source = tmp_path_factory.mktemp("source")
    tracked = ["sky", "pyproject.toml", "README.md"]
    subprocess.run(["cp", "-r", *(str(PACKAGE / name) for name in tracked), str(source)], check=True)
    subprocess.run([*pip, str(source)], check=True)
    return environment


def run(installed: Path, home: Home, cloud: str) -> subprocess.CompletedProcess[str]:
    environment = {**home.environment, "PATH": f"{Path(os.environ['SKY_BINARY']).parent}:/usr/bin:/bin"}
    # Found on the PATH.
    del environment["SKY_BINARY"]
    return subprocess.run(
        [str(installed / "bin/python"), "-c", PROGRAM.format(cloud=cloud)],
        env=environment,
        cwd=home.path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_program_runs_with_the_local_cloud(installed: Path, home: Home) -> None:
    done = run(installed, home, "Local")
    assert done.returncode == 0, done.stderr
    assert ") hello SkyPilot\n" in done.stdout
    assert done.stdout.endswith("✓ Job finished (status: SUCCEEDED).\n")
    assert done.stderr == ""


def test_the_program_fails_clearly_with_a_cloud_that_is_not_enabled(installed: Path, home: Home) -> None:
    done = run(installed, home, "AWS")
    assert done.returncode == 1
    assert "the infra `aws` is not enabled" in done.stderr
    assert "\nsky check aws shows what is missing\n" in done.stderr
    assert done.stderr.count("Error: ") == 1, done.stderr


def test_it_has_no_dependencies_and_types(installed: Path) -> None:
    python = str(installed / "bin/python")
    shown = subprocess.run([python, "-m", "pip", "show", "-f", "sky-sdk"], check=True, capture_output=True, text=True)
    assert "\nRequires: \n" in shown.stdout
    assert "sky/py.typed" in shown.stdout and "sky/__init__.pyi" in shown.stdout


@pytest.mark.parametrize("what", ["sky", "tests/sample.py"])
def test_types_are_strict(what: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", os.devnull, what],
        cwd=PACKAGE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
