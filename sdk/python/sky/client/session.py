"""Dealings with one server: checked once, patient with busy servers and broken connections, never asking twice.

Every submission carries a key by which our server knows a repetition, so that a launch whose answer was lost is the
same launch when it is sent again.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Callable, Generic, Iterator, Mapping, Optional, TypeVar

from .. import exceptions
from .._version import __version__
from . import endpoint, identity, scope
from .endpoint import Target

if TYPE_CHECKING:
    from ..results import ServerInfo
    from .transport import Answer, Body, Query

T = TypeVar("T")

#: The number of the API that this package speaks: the one of SkyPilot 0.14.1.
API_VERSION = 62
#: The oldest number that it understands.
MIN_API_VERSION = 24
#: The release of SkyPilot that speaks this API.
_COMPATIBLE_RELEASE = "0.14.1"
#: The time for an answer that needs no work, and to take in a submission, in seconds.
_QUICK, _SUBMIT = 5.0, 30.0
#: How long a busy or vanished server is waited for, in seconds.
_PATIENCE = 600.0
#: One wait for a result, in seconds; then it is asked for again, so that a dead connection does not go unnoticed.
_RESULT = 60.0
#: First and longest pause between tries, in seconds.
_PAUSES = (0.05, 5.0)


class RequestId(str, Generic[T]):
    """The id of a request on the server; ``T`` is the type of what :func:`sky.get` returns for it."""

    #: The verb, where known: ``launch``.
    name: Optional[str]

    def __new__(cls, value: str, name: Optional[str] = None) -> RequestId[T]:
        made = super().__new__(cls, value)
        made.name = name
        return made


class Session:
    """Calls to one server in the name of the user."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.identity = identity.of_user()
        self.health: Optional[ServerInfo] = None
        self._headers = {
            "x-skypilot-api-version": str(API_VERSION),
            "x-skypilot-version": _COMPATIBLE_RELEASE,
            "x-sky-version": __version__,
            "x-sky-user": self.identity.header,
            "accept": "application/vnd.sky+json",
        }

    @property
    def is_ours(self) -> bool:
        """Whether the server knows keys of submissions and byte positions."""
        return self.target.local or (self.health is not None and self.health.sky_version is not None)

    def common(self, function: str) -> dict[str, Any]:
        """Returns the fields that every body carries."""
        return identity.common_fields(self.identity, self.target, function)

    def open(self) -> Session:
        """Checks the server, and starts the local one when nothing answers."""
        try:
            self.health = self.ask_health()
        except exceptions.ApiServerConnectionError as error:
            if not self.target.local:
                raise exceptions.ApiServerConnectionError(
                    error.message, hints=error.hints or ["`sky api info` shows which server is used and why"]
                ) from error
            self.revive()
            self.health = self.ask_health()
        return self

    def ask_health(self) -> ServerInfo:
        """Asks the server for its state, and refuses one that this package cannot work with, or that refuses us."""
        return self.accept(self.probe())

    def accept(self, info: ServerInfo) -> ServerInfo:
        """Returns the state of a server that takes our credentials."""
        if info.status == "needs_auth":
            raise self._refused(None)
        return info

    def probe(self) -> ServerInfo:
        """Asks the server for its state, which may be that it demands credentials."""
        url = self.target.url
        try:
            with self.call("GET", "/api/health", timeout=_QUICK) as answer:
                value = answer.json()
        except exceptions.NotFoundError as error:
            raise exceptions.ApiServerConnectionError(f"what answers at {url} is not an API server") from error
        except exceptions.ApiServerAuthenticationError as error:
            raise self._refused(error) from error
        if not isinstance(value, dict) or "status" not in value:
            raise exceptions.APIVersionMismatchError(f"what answers at {url} is not an API server that sky knows")
        from ..results import ServerInfo

        info = ServerInfo.from_json(value)
        info.endpoint = url
        if info.status == "needs_auth":
            return info
        if not (info.api_version or "").isdigit():
            raise exceptions.APIVersionMismatchError(f"what answers at {url} is not an API server that sky knows")
        if int(info.api_version or 0) < MIN_API_VERSION:
            raise exceptions.APIVersionMismatchError(
                f"the server at {url} is too old: it speaks API version {info.api_version}, "
                f"this package needs {MIN_API_VERSION} or newer",
                hints=["upgrade the server"],
            )
        return info

    def _refused(self, error: Optional[exceptions.SkyError]) -> exceptions.ApiServerAuthenticationError:
        url = self.target.url
        has_any = self.target.token is not None or self.target.endpoint.credentials is not None
        what = f"the server at {url} " + ("refuses your credentials" if has_any else "demands credentials")
        if error is not None and has_any:
            what += f": {error.message}"
        return exceptions.ApiServerAuthenticationError(
            what, hints=[f"sky api login -e {url}, or sky.api_login({url!r})"]
        )

    def revive(self) -> None:
        """Starts the local server unless it runs. Its TCP port may be taken; its socket never is."""
        from . import local

        local.start()
        if self.target.endpoint.scheme != "unix":
            self.target = self.target._replace(endpoint=endpoint.local().endpoint)

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Optional[Query] = None,
        body: Body = None,
        headers: Optional[Mapping[str, Optional[str]]] = None,
        timeout: float = _SUBMIT,
    ) -> Answer:
        """Calls the server once; an answer that is an error is raised. ``None`` leaves a header out."""
        from . import transport

        sent = {key: value for key, value in {**self._headers, **(headers or {})}.items() if value is not None}
        return transport.call(self.target, method, path, headers=sent, query=query, body=body, timeout=timeout)

    def fetch(self, method: str, path: str, *, query: Optional[Query] = None, body: Body = None) -> Any:
        """Calls the server, as often as it takes, and returns the JSON that it answers; for calls that only read."""

        def once() -> Any:
            with self.call(method, path, query=query, body=body) as answer:
                return answer.json()

        return self.patiently(once)

    def submit(self, path: str, body: Optional[dict[str, Any]], name: str, *, plain: bool = False) -> RequestId[Any]:
        """Submits a request, once, however often it has to be tried. ``None`` as body makes it a GET.

        With ``plain`` our server answers as SkyPilot's does.
        """
        headers: dict[str, Optional[str]] = {"idempotency-key": identity.new_id()}
        if plain:
            headers.update({"x-sky-version": None, "accept": "*/*"})

        def once() -> RequestId[Any]:
            with self.call("GET" if body is None else "POST", path, body=body, headers=headers) as answer:
                answer.read()
                request_id = answer.header("x-skypilot-request-id")
            if not request_id:
                raise exceptions.InternalServerError("the server did not say which request it made of the call")
            return RequestId(request_id, name)

        return self.patiently(once, repeat=self.is_ours or body is None)

    def patiently(self, once: Callable[[], T], *, repeat: bool = True) -> T:
        """Repeats a call while the server is busy and, with ``repeat``, while it is away."""
        pauses = Pauses()
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                return once()
            except exceptions.ServerTemporarilyUnavailableError as error:
                failure: exceptions.SkyError = error
            except (exceptions.ApiServerConnectionError, exceptions.RequestTimeoutError) as error:
                if not repeat:
                    raise
                failure = error
            if time.monotonic() > end:
                raise failure
            self.wait_out(failure, pauses)

    def wait_out(self, failure: exceptions.SkyError, pauses: Pauses) -> None:
        """Waits before the next try; brings the local server back when it is gone."""
        startable = self.target.local and isinstance(failure, exceptions.ApiServerConnectionError)
        pause = failure.retry_after if failure.retry_after is not None else next(pauses)
        # A server that can be started is not waited for at first.
        if not (startable and pauses.count <= 1):
            scope.current().wait(pause)
        scope.current().check()
        if startable:
            self.revive()

    def ended(self, request_id: str) -> dict[str, Any]:
        """Waits for a request and returns it as it ended."""

        def once() -> Optional[dict[str, Any]]:
            try:
                return self._result(request_id)
            except exceptions.RequestTimeoutError:
                return None

        while True:
            payload = self.patiently(once)
            if payload is not None and payload.get("status") in ("SUCCEEDED", "FAILED", "CANCELLED"):
                return payload

    def _result(self, request_id: str) -> dict[str, Any]:
        """Asks for a result; a request that failed is an answer too."""
        from . import transport

        query: Query = {"request_id": request_id}
        headers = self._headers
        with transport.send(self.target, "GET", "/api/get", headers=headers, query=query, timeout=_RESULT) as answer:
            body = answer.read()
            status, retry_after = answer.status, answer.header("retry-after")
        try:
            value = json.loads(body)
        except ValueError:
            value = None
        payload = value.get("detail") if isinstance(value, dict) and status == 500 else value
        if isinstance(payload, dict) and "request_id" in payload and (status == 500 or 200 <= status < 300):
            return payload
        raise transport.error_of_body(status, body, retry_after)

    def result(self, request_id: str) -> Any:
        """Waits for a request and returns its result, or raises its error."""
        payload = self.ended(request_id)
        full_id, name = str(payload["request_id"]), str(payload.get("name", ""))
        if payload["status"] == "CANCELLED":
            raise exceptions.RequestCancelled(f"request {full_id} was cancelled", request_id=full_id)
        error = json.loads(payload.get("error") or "null")
        if isinstance(error, dict):
            raise exceptions.from_payload(error, full_id)
        if payload["status"] == "FAILED":
            raise exceptions.InternalServerError(f"request {full_id} failed without saying why", request_id=full_id)
        from ..results import read

        return read(name, json.loads(payload.get("return_value") or "null"))


class Pauses(Iterator[float]):
    """Pauses that double, in seconds."""

    def __init__(self) -> None:
        self.count = 0

    def __next__(self) -> float:
        self.count += 1
        first, longest = _PAUSES
        return min(first * 2.0 ** min(self.count - 1, 20), longest)


#: Sessions whose server was checked, by what makes them different.
_checked: dict[Any, Session] = {}


def unchecked() -> Session:
    """Returns a session with the server that is meant, without asking it anything."""
    return Session(endpoint.resolve())


def open_session() -> Session:
    """Returns a session with the server that is meant; its health is asked for once in a process."""
    made = unchecked()
    target = made.target
    key = (target.endpoint, target.token, target.cookies, made.identity.header)
    known = _checked.get(key)
    if known is not None:
        made.health = known.health
        return made
    made.open()
    _checked[key] = made
    return made


def forget() -> None:
    """Forgets which servers were checked."""
    _checked.clear()
