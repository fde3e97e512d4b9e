"""Sessions of log-ins with a browser: ``~/.sky/cookies.txt``, in the Netscape layout, which SkyPilot's clients share.

Read here rather than by ``http.cookiejar``: that one takes long to import and sends nothing to hosts without a dot.
"""

from __future__ import annotations

import os
import time
from typing import Iterable, NamedTuple, Optional

from ..exceptions import InvalidSkyPilotConfigError
from . import config
from .endpoint import Endpoint

#: Names the file where it is not in its usual place.
VARIABLE = "SKYPILOT_API_COOKIE_FILE"
#: The line by which readers know the file.
_MAGIC = "# Netscape HTTP Cookie File"
#: How long sessions are kept, in seconds: as servers and SkyPilot's clients do.
_LIFE = 7 * 24 * 3600


class _Cookie(NamedTuple):
    """A line of the file."""

    #: The host, with a dot before it where hosts below it count too.
    domain: str
    #: Path below which it is sent.
    path: str
    secure: bool
    #: Seconds since the epoch; 0 is never.
    expires: int
    name: str
    value: str

    @classmethod
    def parse(cls, line: str) -> Optional[_Cookie]:
        """Reads a line; ``None`` is a comment, or no cookie."""
        if line.startswith("#HttpOnly_"):
            line = line[len("#HttpOnly_") :]
        fields = line.split("\t")
        if line.startswith("#") or len(fields) != 7:
            return None
        domain, _, path, secure, expires, name, value = fields
        return cls(domain.lower(), path, secure == "TRUE", int(expires) if expires.isdigit() else 0, name, value)

    @property
    def host(self) -> str:
        return self.domain.lstrip(".")

    def suits(self, endpoint: Endpoint) -> bool:
        """Returns whether it goes to this server, now."""
        host = endpoint.host.lower()
        below = self.domain.startswith(".") and host.endswith("." + self.host)
        return (
            (host == self.host or below)
            and (endpoint.scheme == "https" or not self.secure)
            and (self.expires == 0 or self.expires > time.time())
            and (endpoint.prefix + "/").startswith(self.path.rstrip("/") + "/")
        )


def header_for(endpoint: Endpoint) -> Optional[str]:
    """Returns the value of the header ``cookie`` for a server; ``None`` when there is nothing to send."""
    found = (_Cookie.parse(line) for line in _lines())
    return "; ".join(f"{one.name}={one.value}" for one in found if one is not None and one.suits(endpoint)) or None


def keep(endpoint: Endpoint, cookies: dict[str, str]) -> None:
    """Keeps cookies for a server, readable by the user only; those of the same names are replaced."""
    kept = [line for line in _lines() if not _belongs(line, endpoint, cookies)]
    secure = "TRUE" if endpoint.scheme == "https" else "FALSE"
    expires = int(time.time()) + _LIFE
    # Without a path, as SkyPilot's client writes it: it replaces only what agrees with its own in that too.
    kept += [f".{endpoint.host}\tTRUE\t\t{secure}\t{expires}\t{name}\t{value}" for name, value in cookies.items()]
    _write(kept)


def forget(endpoint: Endpoint) -> None:
    """Forgets the cookies of a server."""
    lines = _lines()
    kept = [line for line in lines if not _belongs(line, endpoint)]
    if len(kept) != len(lines):
        _write(kept)


def _belongs(line: str, endpoint: Endpoint, names: Optional[Iterable[str]] = None) -> bool:
    """Returns whether a line is a cookie of this very host, and of one of these names."""
    cookie = _Cookie.parse(line)
    return cookie is not None and cookie.host == endpoint.host.lower() and (names is None or cookie.name in names)


def _file() -> str:
    return os.path.expanduser(os.environ.get(VARIABLE) or config.home(".sky", "cookies.txt"))


def _lines() -> list[str]:
    """Returns the lines of the file, its head left out; none where there is no file."""
    path = _file()
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InvalidSkyPilotConfigError(f"cannot read the cookies in `{path}`: {error}") from error
    return [line for line in text.split("\n") if line and line != _MAGIC]


def _write(lines: list[str]) -> None:
    config.write_private(_file(), "\n".join([_MAGIC, *lines, ""]))
