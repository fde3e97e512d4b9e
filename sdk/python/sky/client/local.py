"""The local server: started and stopped by the ``sky`` binary."""

from __future__ import annotations

import os
import shutil
import subprocess

from ..exceptions import ApiServerConnectionError

#: Names the binary where it is not on the ``PATH``.
VARIABLE = "SKY_BINARY"
#: How long the binary may take to start or stop the server; it may have to repair its store.
_TIME = 90.0


def binary() -> str:
    """Returns the path of the ``sky`` binary."""
    named = os.environ.get(VARIABLE)
    found = shutil.which(named or "sky")
    if found is None:
        what = f"{VARIABLE} names `{named}`, which cannot be run" if named else "there is no `sky` on the PATH"
        raise ApiServerConnectionError(
            f"no API server runs on this machine, and it cannot be started: {what}",
            hints=[f"install sky, or name it: {VARIABLE}=/path/to/sky", "or use a server elsewhere: sky.api_login"],
        )
    return found


def start(*options: str) -> None:
    """Starts the server unless it runs; returns when it is ready. ``options`` are those of ``sky api start``."""
    if os.environ.get("SKYPILOT_DISABLE_LOCAL_API_SERVER", "").lower() in ("1", "true", "yes"):
        raise ApiServerConnectionError(
            "no API server runs on this machine, and SKYPILOT_DISABLE_LOCAL_API_SERVER forbids to start one",
            hints=["use a server elsewhere: sky.api_login"],
        )
    program = binary()
    said = _run(program, "--version")
    if said.startswith("skypilot"):
        raise ApiServerConnectionError(
            f"no API server runs on this machine, and `{program}`, which should start it, is SkyPilot's command line",
            hints=[f"name the binary of sky: {VARIABLE}=/path/to/sky"],
        )
    _run(program, "api", "start", *options)


def stop() -> None:
    """Stops the server; what runs on clusters goes on."""
    _run(binary(), "api", "stop")


def _run(program: str, *words: str) -> str:
    """Runs the binary; returns what it said."""
    shown = " ".join(["sky", *words])
    # A job of the local cloud that uses this package must not hand its own variables to the server.
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("SKYPILOT_NODE_", "SKYPILOT_NUM_"))
    }
    try:
        done = subprocess.run(
            [program, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment,
            timeout=_TIME,
            check=False,
        )
    except OSError as error:
        raise ApiServerConnectionError(f"`{program}` cannot be run: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise ApiServerConnectionError(f"`{shown}` has not ended after {_TIME:.0f} s") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
        raise ApiServerConnectionError(f"`{shown}` failed (exit code {done.returncode}, {program}): {said}")
    return done.stdout.decode("utf-8", "replace")
