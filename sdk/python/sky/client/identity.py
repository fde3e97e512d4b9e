"""Who the user is to servers that do not authenticate, and the fields that every body carries."""

from __future__ import annotations

import os
import re
from typing import Any, NamedTuple

from . import config
from .endpoint import Target

#: Variables that stay on this machine although their names begin with ``SKYPILOT_``.
_PRIVATE = {
    "SKYPILOT_API_COOKIE_FILE",
    "SKYPILOT_DB_CONNECTION_URI",
    "SKYPILOT_DOCKER_PASSWORD",
    "SKYPILOT_SERVICE_ACCOUNT_TOKEN",
}


class Identity(NamedTuple):
    """The user of this machine."""

    #: Eight hexadecimal digits, unless the user chose an id.
    id: str
    #: Display name.
    name: str

    @property
    def header(self) -> str:
        """The header by which our own server knows the user."""
        return f"{self.id};" + re.sub(r"[^!-:<-~]", "", self.name)


def of_user() -> Identity:
    """Returns who the user is: the environment, else the file, else a hash of user and host, which is then kept."""
    name = os.environ.get("SKYPILOT_USER") or _login_name()
    chosen = os.environ.get("SKYPILOT_USER_ID")
    if chosen:
        return Identity(chosen, name)
    path = config.home(".sky", "user_hash")
    try:
        with open(path, encoding="utf-8") as file:
            kept = file.read().strip()
        if re.fullmatch(r"[0-9a-f]{8}", kept):
            return Identity(kept, name)
    except OSError:
        pass
    import hashlib

    digest = hashlib.md5(f"{_login_name()}-{os.uname().nodename}".encode(), usedforsecurity=False).hexdigest()[:8]
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(digest)
    return Identity(digest, name)


def common_fields(identity: Identity, target: Target, function: str) -> dict[str, Any]:
    """Returns the fields that every body carries; ``function`` is what the user called."""
    env_vars = {
        key: value
        for key, value in os.environ.items()
        if key.startswith("SKYPILOT_") and not key.startswith("SKYPILOT_SERVER_") and key not in _PRIVATE
    }
    env_vars.update(
        SKYPILOT_USER_ID=identity.id,
        SKYPILOT_USER=identity.name,
        SKYPILOT_USAGE_RUN_ID=new_id(),
    )
    return {
        "env_vars": env_vars,
        "entrypoint": f"sky.{function}",
        "entrypoint_command": f"sky.{function}",
        "using_remote_api_server": not target.local,
        "override_skypilot_config": config.for_requests(target.config),
        "file_mounts_blob_id": None,
    }


def new_id() -> str:
    """Returns a new UUID of version 4."""
    digits = bytearray(os.urandom(16))
    digits[6] = digits[6] & 0x0F | 0x40
    digits[8] = digits[8] & 0x3F | 0x80
    text = digits.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _login_name() -> str:
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):
        return os.environ.get("USER") or f"uid{os.getuid()}"
