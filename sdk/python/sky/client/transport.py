"""Calls over HTTP: Unix socket, TCP or TLS. One try each; every failure becomes an exception of this package."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import socket
from types import TracebackType
from typing import Any, Mapping, Optional, Type, Union
from urllib.parse import urlencode

from .. import exceptions
from . import scope
from .endpoint import Endpoint, Target

#: The time to connect, the handshake of TLS included.
_CONNECT_TIME = 5.0
#: The time in which the body of an error must arrive.
_ERROR_TIME = 5.0
#: The most that is read of the body of an error.
_ERROR_LIMIT = 4 << 20

Query = Mapping[str, Union[str, int, bool, list[str], None]]
Body = Union[bytes, dict[str, Any], None]


#: The longest path, in bytes, that fits in the address of a Unix socket with its final zero.
_LONGEST_PATH = 107


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket at a path of any length."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        if len(os.fsencode(self._path)) <= _LONGEST_PATH:
            self.sock.connect(self._path)
            return
        directory, name = os.path.split(self._path)
        descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY)
        try:
            self.sock.connect(f"/proc/self/fd/{descriptor}/{name}")
        finally:
            os.close(descriptor)


class Answer:
    """An answer whose body has yet to be read. Closes its connection at the end of a ``with`` block."""

    def __init__(self, connection: socket.socket, response: http.client.HTTPResponse, url: str) -> None:
        self._socket = connection
        self._response = response
        self._url = url
        self._scope = scope.current()
        self.status = response.status

    def __enter__(self) -> Answer:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._scope.discard(self._socket)
        self._response.close()
        self._socket.close()

    def header(self, name: str) -> Optional[str]:
        """Returns a header."""
        return self._response.getheader(name)

    def read(self, amount: Optional[int] = None) -> bytes:
        """Reads the rest of the body, or exactly ``amount`` bytes (less at its end)."""
        try:
            return self._response.read() if amount is None else self._response.read(amount)
        except (OSError, http.client.HTTPException) as error:
            raise _failure(error, self._url) from error

    def read_some(self) -> bytes:
        """Reads what has arrived, at least a byte; nothing at the end."""
        try:
            return self._response.read1(1 << 16)
        except (OSError, http.client.HTTPException) as error:
            raise _failure(error, self._url) from error

    def json(self) -> Any:
        """Reads the body as JSON."""
        try:
            return json.loads(self.read() or b"null")
        except ValueError as error:
            raise exceptions.InternalServerError(f"the answer of {self._url} is not JSON: {error}") from error

    def patience(self, seconds: float) -> None:
        """Sets how long each read may wait."""
        self._socket.settimeout(seconds)


def call(
    target: Target,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str],
    query: Optional[Query] = None,
    body: Body = None,
    timeout: float,
) -> Answer:
    """Calls the server and returns its answer, an error as an exception; ``timeout`` is for the head of the answer."""
    answer = send(target, method, path, headers=headers, query=query, body=body, timeout=timeout)
    if 200 <= answer.status < 300:
        return answer
    with answer:
        raise read_error(answer)


def send(
    target: Target,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str],
    query: Optional[Query] = None,
    body: Body = None,
    timeout: float,
) -> Answer:
    """Calls the server and returns its answer, whatever it is."""
    own = scope.current()
    own.check()
    endpoint = target.endpoint
    sent = {"host": endpoint.authority, "connection": "close", **_credentials(target), **headers}
    data: Optional[bytes] = None
    if isinstance(body, dict):
        data = json.dumps(body).encode()
        sent["content-type"] = "application/json"
    elif body is not None:
        data = body
    connection = _connection(endpoint)
    try:
        connection.connect()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise _unreachable(error, target.url) from error
    # The connection lets go of it when the answer says that it is the last one.
    wire = connection.sock
    own.add(wire)
    try:
        wire.settimeout(timeout)
        connection.request(method, endpoint.prefix + path + _query(query), body=data, headers=sent)
        return Answer(wire, connection.getresponse(), target.url)
    except (OSError, http.client.HTTPException) as error:
        own.discard(wire)
        connection.close()
        own.check()
        raise _failure(error, target.url) from error


def _connection(endpoint: Endpoint) -> http.client.HTTPConnection:
    if endpoint.scheme == "unix":
        return _UnixConnection(endpoint.host, _CONNECT_TIME)
    if endpoint.scheme == "http":
        return http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=_CONNECT_TIME)
    import ssl

    context = ssl.create_default_context()
    return http.client.HTTPSConnection(endpoint.host, endpoint.port, timeout=_CONNECT_TIME, context=context)


def _credentials(target: Target) -> dict[str, str]:
    if target.token is not None:
        return {"authorization": f"Bearer {target.token}"}
    if target.endpoint.credentials is not None:
        text = base64.b64encode(target.endpoint.credentials.encode()).decode("ascii")
        return {"authorization": f"Basic {text}"}
    return {} if target.cookies is None else {"cookie": target.cookies}


def _query(query: Optional[Query]) -> str:
    pairs: list[tuple[str, str]] = []
    for key, value in (query or {}).items():
        if isinstance(value, list):
            pairs += [(key, item) for item in value]
        elif value is not None:
            pairs.append((key, str(value).lower() if isinstance(value, bool) else str(value)))
    return "?" + urlencode(pairs) if pairs else ""


def _failure(error: Exception, url: str) -> exceptions.SkyError:
    """Returns the exception of a connection that failed."""
    if isinstance(error, socket.timeout):
        return exceptions.RequestTimeoutError(f"the server at {url} did not answer in time")
    return _unreachable(error, url)


def _unreachable(error: Exception, url: str) -> exceptions.ApiServerConnectionError:
    hints = []
    if type(error).__name__ == "SSLCertVerificationError":
        hints = ["if this is the certificate of your team, trust it: SSL_CERT_FILE=<certificate.pem>"]
    elif type(error).__name__ == "SSLError":
        hints = ["what answers there may not speak TLS: try http:// as address"]
    what = str(error) or type(error).__name__
    return exceptions.ApiServerConnectionError(f"cannot reach the API server at {url}: {what}", hints=hints)


#: The kind of error of a status, where the body says nothing better.
_BY_STATUS: dict[int, Type[exceptions.SkyError]] = {
    401: exceptions.ApiServerAuthenticationError,
    403: exceptions.PermissionDeniedError,
    404: exceptions.NotFoundError,
    405: exceptions.NotSupportedError,
    408: exceptions.RequestTimeoutError,
    409: exceptions.ConflictError,
    413: exceptions.TooLargeError,
    429: exceptions.ServerTemporarilyUnavailableError,
    501: exceptions.NotSupportedError,
    502: exceptions.ApiServerConnectionError,
    503: exceptions.ServerTemporarilyUnavailableError,
    504: exceptions.RequestTimeoutError,
    507: exceptions.StorageFullError,
}


def read_error(answer: Answer) -> exceptions.SkyError:
    """Returns the error of an answer: of our server, of SkyPilot's, or of a proxy between."""
    answer.patience(_ERROR_TIME)
    if 300 <= answer.status < 400:
        return _redirected(answer.header("location") or "")
    body = answer.read(_ERROR_LIMIT)
    return error_of_body(answer.status, body, answer.header("retry-after"))


def error_of_body(status: int, body: bytes, retry_after: Optional[str]) -> exceptions.SkyError:
    """Returns the error that a body with this status means."""
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    value = value if isinstance(value, dict) else {}
    error = value.get("error")
    if isinstance(error, dict) and "kind" in error:
        return exceptions.from_error(error)
    if error == "version_mismatch":
        return exceptions.APIVersionMismatchError(str(value.get("message") or "client and server do not fit"))
    detail = value.get("detail")
    if isinstance(detail, dict) and "type" in detail and "message" in detail:
        return exceptions.from_payload(detail)
    kind = _BY_STATUS.get(
        status, exceptions.InvalidRequestError if 400 <= status < 500 else exceptions.InternalServerError
    )
    message = _detail(detail) or _title(body) or f"the server answered with status {status}"
    seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
    hints = ["`sky.api_login` stores credentials for the API server"] if status == 401 else []
    return kind(message, retry_after=seconds, hints=hints)


def _redirected(location: str) -> exceptions.SkyError:
    """Redirects are not followed silently: they would carry credentials to whoever is named."""
    if "login" in location or "oauth2" in location:
        return exceptions.ApiServerAuthenticationError(
            "the API server asks for a login", hints=["`sky.api_login` stores credentials for the API server"]
        )
    return exceptions.InvalidRequestError(
        f"the server redirects to `{re.split('[?#]', location)[0]}`",
        hints=["use that address as the API server endpoint, if it is the right one"],
    )


def _detail(value: Any) -> Optional[str]:
    """Returns the text of a ``detail``: a string, an object with a message, or a list of them."""
    if isinstance(value, dict):
        text = value.get("message") or value.get("msg")
        place = value.get("loc")
        where = f"{place[-1]}: " if isinstance(place, list) and place else ""
        return f"{where}{text}" if text else json.dumps(value)
    if isinstance(value, list):
        return "; ".join(filter(None, map(_detail, value))) or None
    return value if isinstance(value, str) else None


def _title(body: bytes) -> Optional[str]:
    """Returns the title of a proxy's page."""
    match = re.search(r"<title>(.*?)</title>", body[: 16 << 10].decode("utf-8", "replace"), re.DOTALL)
    return " ".join(match[1].split()) if match else None
