"""The client's configuration: user file, project file, merged. Also: changing the server that a login names."""

from __future__ import annotations

import json
import os
import re
from typing import Any, Optional

from ..exceptions import InvalidSkyPilotConfigError

#: Keys that the server never takes from a client.
_NOT_SENT = {"api_server", "admin_policy", "allowed_clouds", "workspaces", "db", "daemons", "metrics"}
#: Keys of ``api_server`` that a login owns.
_OWNED = ("endpoint", "service_account_token")


def home(*parts: str) -> str:
    """Returns a path below the user's home directory."""
    return os.path.join(os.path.expanduser("~"), *parts)


def user_file() -> str:
    """Returns the path of the user's configuration file."""
    return os.path.expanduser(os.environ.get("SKYPILOT_GLOBAL_CONFIG") or home(".sky", "config.yaml"))


def load() -> dict[str, Any]:
    """Reads the files and merges them."""
    only = os.environ.get("SKYPILOT_CONFIG")
    if only:
        return _read(only, needed=True)
    config = _read(user_file(), needed="SKYPILOT_GLOBAL_CONFIG" in os.environ)
    project = os.environ.get("SKYPILOT_PROJECT_CONFIG")
    more = _read(os.path.expanduser(project or ".sky.yaml"), needed=bool(project))
    return _merged(config, more)


def for_requests(config: dict[str, Any]) -> dict[str, Any]:
    """Returns what travels with a request."""
    return {key: value for key, value in config.items() if key not in _NOT_SENT}


def server_key(config: dict[str, Any], key: str) -> Optional[str]:
    """Returns ``api_server.key``."""
    section = config.get("api_server")
    value = section.get(key) if isinstance(section, dict) else None
    return value if isinstance(value, str) and value else None


def _read(path: str, needed: bool) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError as error:
        if needed:
            raise InvalidSkyPilotConfigError(f"cannot read the configuration file `{path}`: {error}") from error
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSkyPilotConfigError(f"cannot read the configuration file `{path}`: {error}") from error
    if not text.strip():
        return {}
    from .. import _yaml

    try:
        documents = _yaml.documents(text)
    except _yaml.YAMLError as error:
        raise InvalidSkyPilotConfigError(f"{path}: {error}") from error
    if not documents:
        return {}
    if len(documents) > 1 or not isinstance(documents[0], dict):
        raise InvalidSkyPilotConfigError(f"{path}: a configuration is a mapping of keys")
    return documents[0]


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Lays ``over`` over ``base``: mappings key by key, everything else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def save_server(endpoint: Optional[str], token: Optional[str]) -> None:
    """Writes which server is used from now on; ``None`` is the one of this machine. Readable by the user only."""
    path = user_file()
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        text = ""
    write_private(path, edited(text, dict(zip(_OWNED, (endpoint, token)))))


def write_private(path: str, text: str) -> None:
    """Writes a file that only the user may read, at once: readers see the old one or the new one."""
    os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
    scratch = f"{path}.{os.getpid()}"
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    os.replace(scratch, path)


def edited(text: str, keys: dict[str, Optional[str]]) -> str:
    """Returns the text with other keys in its ``api_server`` block; everything else stays as it was written."""
    before: list[str] = []
    kept: list[str] = []
    after: list[str] = []
    place = before
    for line in text.splitlines():
        name = line.split(":", 1)[0].strip().strip("\"'")
        if re.match(r"[^\s#]", line):
            if name == "api_server":
                place = kept
                continue
            place = after if place is not before else before
        if place is kept and name in _OWNED:
            continue
        place.append(line)
    block = [f"  {key}: {json.dumps(value)}" for key, value in keys.items() if value is not None] + kept
    head = ["api_server:"] if any(line.strip() for line in block) else []
    lines = before + head + block + after
    return "\n".join(lines) + "\n" if lines else ""
