"""Which server is meant, and whether it is this machine's own."""

from __future__ import annotations

import os
import re
from typing import Any, NamedTuple, Optional

from ..exceptions import InvalidRequestError, InvalidSkyPilotConfigError
from . import config

#: The variable that names the server.
VARIABLE = "SKYPILOT_API_SERVER_ENDPOINT"
_TOKEN_VARIABLE = "SKYPILOT_SERVICE_ACCOUNT_TOKEN"
_PORT_VARIABLE = "SKYPILOT_API_SERVER_LOCAL_PORT"
_DEFAULT_PORT = 46580
_LOCAL_HOSTS = ("0.0.0.0", "localhost", "127.0.0.1", "[::]", "[::1]")
_ADDRESS = re.compile(
    r"(?P<scheme>https?)://(?:(?P<user>[^/?#]*)@)?(?P<host>\[[^\]/]+\]|[^:/?#\s\[\]]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<prefix>/[^?#\s]*)?$"
)


class Endpoint(NamedTuple):
    """Where a server is."""

    #: ``unix``, ``http`` or ``https``.
    scheme: str
    #: Name or address without brackets, or the path of the socket.
    host: str
    port: int = 0
    #: Path that stands before every path, without a slash at its end.
    prefix: str = ""
    #: ``user:password`` of basic authentication.
    credentials: Optional[str] = None

    @property
    def url(self) -> str:
        """The address for people; never with a password."""
        if self.scheme == "unix":
            return f"unix://{self.host}"
        return f"{self.scheme}://{self.authority}{self.prefix}"

    @property
    def authority(self) -> str:
        """``host[:port]``, without the port that the scheme implies."""
        if self.scheme == "unix":
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _implied(self.scheme) else f"{host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Reads an address; a wrong one is not repeated: it may hold a password."""
        text = text.strip().rstrip("/")
        if text.startswith("unix:///"):
            return cls("unix", text[len("unix://") :])
        match = _ADDRESS.match(text)
        port = int(match["port"] or _implied(match["scheme"])) if match else 0
        if match is None or port > 65535:
            raise InvalidRequestError(
                "the API server endpoint is not a valid address",
                hints=["write `http://host:port`, `https://[user:password@]host[:port][/prefix]` or `unix:///path`"],
            )
        credentials = match["user"]
        if credentials is not None:
            from urllib.parse import unquote

            credentials = unquote(credentials)
        return cls(match["scheme"], match["host"].strip("[]"), port, match["prefix"] or "", credentials)


class Target(NamedTuple):
    """The server that is meant."""

    endpoint: Endpoint
    #: The address for people and browsers.
    url: str
    #: Whether it is this machine's own: then it may be started, and files are not uploaded.
    local: bool
    #: What to show at the door.
    token: Optional[str]
    #: The client's configuration.
    config: dict[str, Any]
    #: What a log-in with a browser left for it, where there is nothing else to show.
    cookies: Optional[str] = None


def resolve() -> Target:
    """Finds out which server is meant: the environment, else the configuration, else the local one."""
    settings = config.load()
    named = os.environ.get(VARIABLE) or config.server_key(settings, "endpoint")
    token = os.environ.get(_TOKEN_VARIABLE) or config.server_key(settings, "service_account_token")
    target = at(named, token, settings) if named else local(settings)
    return target._replace(token=None) if target.local else target


def at(url: str, token: Optional[str] = None, settings: Optional[dict[str, Any]] = None) -> Target:
    """Returns the server at an address."""
    endpoint = Endpoint.parse(url)
    local = is_local(url, local_port())
    kept = None
    if not local and token is None and endpoint.credentials is None:
        from . import cookies

        kept = cookies.header_for(endpoint)
    return Target(endpoint, endpoint.url, local, token, settings or {}, kept)


def local(settings: Optional[dict[str, Any]] = None) -> Target:
    """Returns the local server."""
    endpoint = Endpoint("unix", os.path.join(state_dir(), "api.sock"))
    return Target(endpoint, f"http://127.0.0.1:{local_port()}", True, None, settings or {})


def state_dir() -> str:
    """Returns the state directory of the local server."""
    return os.environ.get("SKY_STATE_DIR") or config.home(".sky", "api_server")


def local_port() -> int:
    """Returns the port of the local server."""
    text = os.environ.get(_PORT_VARIABLE)
    if not text:
        return _DEFAULT_PORT
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise InvalidSkyPilotConfigError(f"`{_PORT_VARIABLE}` is not a port number")
    return int(text)


def is_local(url: str, port: int) -> bool:
    """Returns whether an address is literally the local server's, as SkyPilot's clients decide it."""
    return url.strip().rstrip("/") in {f"http://{host}:{port}" for host in _LOCAL_HOSTS}


def _implied(scheme: str) -> int:
    return 443 if scheme == "https" else 80
