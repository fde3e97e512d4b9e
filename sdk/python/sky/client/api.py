"""Calls on requests and on the server itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, Sequence, TextIO, TypeVar, Union, overload

from .. import exceptions
from . import endpoint as servers, stream
from .session import RequestId, open_session

if TYPE_CHECKING:
    from ..results import RequestRecord, ServerInfo

T = TypeVar("T")

_Ids = Union[str, Sequence[str], None]


@overload
def get(request_id: RequestId[T]) -> T: ...


@overload
def get(request_id: str) -> Any: ...


def get(request_id: str) -> Any:
    """Waits for a request and returns its result, or raises its error. A prefix of the id is enough."""
    return open_session().result(request_id)


@overload
def stream_and_get(
    request_id: RequestId[T],
    log_path: Optional[str] = ...,
    tail: Optional[int] = ...,
    follow: bool = ...,
    output_stream: Optional[TextIO] = ...,
) -> T: ...


@overload
def stream_and_get(
    request_id: Optional[str] = ...,
    log_path: Optional[str] = ...,
    tail: Optional[int] = ...,
    follow: bool = ...,
    output_stream: Optional[TextIO] = ...,
) -> Any: ...


def stream_and_get(
    request_id: Optional[str] = None,
    log_path: Optional[str] = None,
    tail: Optional[int] = None,
    follow: bool = True,
    output_stream: Optional[TextIO] = None,
) -> Any:
    """Writes the log of a request to ``output_stream`` (standard output) and returns its result.

    ``tail`` is the number of last lines to begin with. Without ``follow`` what is there is written and ``None``
    returned; so it is for ``log_path`` (a log of the server) and for the latest request, which is meant when none is
    named. Lost connections and restarts of the server are not noticed: the log goes on at the byte.
    """
    opened = open_session()
    follower = stream.follow_request(opened, request_id, log_path=log_path, tail=tail, follow=follow)
    stream.show(follower, output_stream)
    if request_id is None or not follow:
        return None
    return opened.result(request_id)


def api_status(
    request_ids: _Ids = None,
    all_status: bool = False,
    limit: Optional[int] = None,
    fields: Optional[Sequence[str]] = None,
    cluster_name: Optional[str] = None,
    *,
    all_users: bool = False,
) -> list[RequestRecord]:
    """Lists requests, newest first: these, else the user's unfinished ones, with ``all_status`` all of them."""
    ids = [request_ids] if isinstance(request_ids, str) else request_ids
    query = {
        "request_ids": list(ids) if ids else None,
        "all_status": all_status,
        "limit": limit,
        "fields": list(fields) if fields else None,
        "cluster_name": cluster_name,
        "all_users": all_users or None,
    }
    from ..results import RequestRecord

    rows = open_session().fetch("GET", "/api/status", query=query)
    return [RequestRecord.from_json(row) for row in rows]


def api_cancel(request_ids: _Ids = None, all_users: bool = False, silent: bool = False) -> RequestId[list[str]]:
    """Cancels requests: these, else all of the user, else those of ``all_users``. The result is the ids cancelled.

    The cancelling itself is done when this returns.
    """
    ids = [request_ids] if isinstance(request_ids, str) else request_ids
    if ids is None and not all_users and not silent:
        print("Cancelling all your requests...", flush=True)
    opened = open_session()
    known = opened.health.user if opened.health is not None else None
    own_id = known.id if known is not None and not opened.target.local else opened.identity.id
    body = {
        **opened.common("api_cancel"),
        "request_ids": None if ids is None else list(ids),
        "user_id": None if all_users else own_id,
    }
    return opened.submit("/api/cancel", body, "api_cancel", plain=True)


def api_info() -> ServerInfo:
    """Returns what the server says of itself and of the user."""
    opened = open_session()
    return opened.patiently(opened.ask_health)


def api_server_logs(follow: bool = True, tail: Optional[int] = None) -> None:
    """Writes the log of the server to standard output."""
    stream_and_get(log_path="~/.sky/api_server/server.log", follow=follow, tail=tail)


def api_start(*, deploy: bool = False, host: str = "127.0.0.1", port: Optional[int] = None) -> None:
    """Starts the server of this machine unless it runs; ``deploy`` listens on all addresses, for a team."""
    _demand_local("start")
    options = ["--deploy"] if deploy else []
    options += [] if host == "127.0.0.1" else ["--host", host]
    options += [] if port is None else ["--port", str(port)]
    from . import local

    local.start(*options)


def api_stop() -> None:
    """Stops the server of this machine. What runs on clusters goes on; the next call starts the server again."""
    _demand_local("stop")
    from . import local

    local.stop()


def _demand_local(verb: str) -> None:
    """Servers of other machines are not ours to start and stop."""
    target = servers.resolve()
    if not target.local:
        raise exceptions.InvalidRequestError(
            f"sky.api_{verb} is for the server of this machine, and {target.url} is in use",
            hints=["sky.api_logout returns to the server of this machine"],
        )
