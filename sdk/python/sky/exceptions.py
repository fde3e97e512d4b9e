"""Errors that the SDK raises: one class per thing a caller may want to tell apart.

Every class derives from :class:`SkyError` and carries what the server said: ``code`` (the kind of the error, for
code), ``message`` (one line, causes included), ``hints`` (sentences that name what to do next) and ``attributes``
(data that belongs to the kind). Classes that SkyPilot derives from a builtin one derive from that here too.
"""

from __future__ import annotations

import re
from typing import Any, Optional, Type, Union

from .states import ClusterStatus, JobExitCode as JobExitCode

#: A document of the wire.
_Json = dict[str, Any]
#: The class of each kind of error of the server.
_BY_CODE: dict[str, Type[SkyError]] = {}


class SkyError(Exception):
    """Base class of all errors of this package."""

    #: The kind of the error where the server names none.
    default_code = "internal"

    def __init_subclass__(cls, code: Optional[str] = None) -> None:
        """``code`` is the kind of error of the server for which the class stands."""
        super().__init_subclass__()
        if code is not None:
            cls.default_code = code
            _BY_CODE[code] = cls

    def __init__(
        self,
        message: str = "",
        *,
        code: Optional[str] = None,
        hints: Optional[list[str]] = None,
        attributes: Optional[_Json] = None,
        retry_after: Optional[float] = None,
        request_id: Optional[str] = None,
    ) -> None:
        super().__init__(message)
        #: What went wrong, on one line.
        self.message = message
        #: What went wrong, for code: ``cluster_not_found``, ``invalid_task``, …
        self.code = code or self.default_code
        #: What to do next.
        self.hints = list(hints or [])
        #: Data that belongs to the kind.
        self.attributes = dict(attributes or {})
        #: Seconds after which trying again makes sense, where the server knows.
        self.retry_after = retry_after
        #: The request that failed, where there is one.
        self.request_id = request_id

    def __str__(self) -> str:
        return "\n".join([self.message, *self.hints])


class InvalidRequestError(SkyError, ValueError, code="invalid"):
    """A value that the caller gave does not make sense."""


class InvalidTaskError(InvalidRequestError, code="invalid_task"):
    """A task is wrong."""


class InvalidTaskYAMLError(InvalidTaskError):
    """The text of a task cannot be read."""


class InvalidClusterNameError(SkyError, code="invalid_name"):
    """A name breaks the rules for names."""


class InvalidSkyPilotConfigError(SkyError, ValueError, code="invalid_config"):
    """A configuration file or value is wrong."""


class NotFoundError(SkyError, ValueError, code="not_found"):
    """Something named does not exist: a request, a path, a job."""


class AmbiguousIdError(SkyError, ValueError, code="ambiguous"):
    """A prefix or pattern matches several things."""


class ClusterDoesNotExist(SkyError, ValueError, code="cluster_not_found"):
    """The cluster does not exist."""


class ClusterNotUpError(SkyError, code="cluster_not_up"):
    """The cluster exists but is not UP."""

    @property
    def cluster_status(self) -> Optional[ClusterStatus]:
        """The state of the cluster, where the server says it."""
        status = self.attributes.get("cluster_status")
        return ClusterStatus(status) if isinstance(status, str) else None


class ClusterSetUpError(SkyError, code="command_failed"):
    """A command on a node of the cluster failed."""


class CommandError(ClusterSetUpError):
    """A command failed."""


class ResourcesMismatchError(SkyError, code="resources_mismatch"):
    """The existing cluster does not offer what the task asks for."""


class ResourcesUnavailableError(SkyError, code="resources_unavailable"):
    """No enabled infra offers what the task asks for, or all refused."""

    @property
    def failover_history(self) -> list[SkyError]:
        """What each place that was tried answered, in that order."""
        history = self.attributes.get("failover_history")
        return [_past(item) for item in history] if isinstance(history, list) else []

    @property
    def no_failover(self) -> bool:
        """Whether trying another place was ruled out."""
        return bool(self.attributes.get("no_failover", False))


class NoCloudAccessError(SkyError, code="no_cloud_access"):
    """No infra is enabled, or not the one that was asked for."""


class NotSupportedError(SkyError, code="not_supported"):
    """The server (or the cloud) cannot do this."""


class ConflictError(SkyError, RuntimeError, code="conflict"):
    """The state of the thing forbids the operation now."""


class PermissionDeniedError(SkyError, code="permission_denied"):
    """The credentials do not permit this."""


class ApiServerAuthenticationError(PermissionDeniedError, RuntimeError, code="unauthenticated"):
    """The server demands credentials, or refuses those that were given."""


class ApiServerConnectionError(SkyError, RuntimeError, code="unreachable"):
    """The server cannot be reached."""


class APIVersionMismatchError(SkyError, RuntimeError, code="version_mismatch"):
    """Client and server speak different versions."""


class ServerTemporarilyUnavailableError(SkyError, RuntimeError, code="too_busy"):
    """The server has too much to do; the same call may succeed later."""


class TooLargeError(SkyError, ValueError, code="too_large"):
    """A body, file or value is larger than permitted."""


class StorageFullError(SkyError, RuntimeError, code="storage_full"):
    """A disk (or a quota) is full."""


class RequestTimeoutError(SkyError, TimeoutError, code="timeout"):
    """A deadline passed."""


class RequestCancelled(SkyError, code="cancelled"):
    """The request was cancelled."""


class RequestInterruptedError(SkyError, code="interrupted"):
    """The request was cut off and cannot be resumed."""


class InternalServerError(SkyError, RuntimeError, code="internal"):
    """A bug, or a fault of the system below the server."""


class APINotSupportedError(NotSupportedError, RuntimeError):
    """The server does not have this call."""


class NoWorkspaceAccessError(PermissionDeniedError):
    """The workspace is not the user's to use."""


class UserRequestRejectedByPolicy(PermissionDeniedError):
    """A policy of the administrator refuses the request."""


class CloudUserIdentityError(SkyError):
    """The user of a cloud cannot be found out."""


class ClusterOwnerIdentityMismatchError(SkyError):
    """The cluster belongs to another user of its cloud."""


class ClusterStatusFetchingError(SkyError):
    """The state of a cluster cannot be found out."""


class FetchClusterInfoError(SkyError):
    """The addresses of a cluster cannot be found out."""


class CloudError(SkyError):
    """A cloud refused a call."""


class NetworkError(SkyError):
    """A network cannot be reached."""


class ProvisionPrechecksError(SkyError):
    """What is asked for cannot be provided anywhere."""


class ManagedJobStatusError(SkyError):
    """The state of a managed job forbids the operation."""


class ManagedJobReachedMaxRetriesError(SkyError):
    """A managed job was tried too often."""


class PortDoesNotExistError(SkyError):
    """The port is not open."""


class StorageError(SkyError):
    """A bucket cannot be made, reached or filled."""


class VolumeNotFoundError(SkyError):
    """The volume does not exist."""


class VolumeNotReadyError(SkyError):
    """The volume cannot be used yet."""


_BY_CODE["usage"] = InvalidRequestError

#: Builtin classes by which SkyPilot's server names errors.
_BY_BUILTIN: dict[str, Type[SkyError]] = {
    "ValueError": InvalidRequestError,
    "TypeError": InvalidRequestError,
    "KeyError": InvalidRequestError,
    "FileNotFoundError": NotFoundError,
    "TimeoutError": RequestTimeoutError,
    "PermissionError": PermissionDeniedError,
}


def from_error(error: _Json, request_id: Optional[str] = None) -> SkyError:
    """Returns the exception of an error as our server writes it: ``{kind, message, chain, hints, …}``."""
    code = str(error.get("kind", "internal"))
    message = ": ".join([str(error.get("message", "")), *map(str, error.get("chain") or [])])
    return _BY_CODE.get(code, InternalServerError)(
        message,
        code=code,
        hints=[str(hint) for hint in error.get("hints") or []],
        attributes=error.get("attributes") or {},
        retry_after=_seconds(error.get("retry_after")),
        request_id=request_id,
    )


def from_payload(payload: _Json, request_id: Optional[str] = None) -> SkyError:
    """Returns the exception of the ``error`` of a request: ``{type, message, sky}``, ``sky`` from our server only."""
    own = payload.get("sky")
    if isinstance(own, dict):
        return from_error(own, request_id)
    name = str(payload.get("type", ""))
    # SkyPilot's server colours some of its messages.
    message = re.sub("\x1b\\[[0-9;]*m", "", str(payload.get("message", ""))) or name
    return _class_named(name)(message, request_id=request_id)


def _class_named(name: str) -> Type[SkyError]:
    """Returns the class of a name as SkyPilot's server uses it."""
    known = globals().get(name)
    if isinstance(known, type) and issubclass(known, SkyError):
        return known
    return _BY_BUILTIN.get(name, InternalServerError)


def _past(item: Union[_Json, str, None]) -> SkyError:
    """Returns an entry of a failover history."""
    if isinstance(item, dict):
        return from_error(item) if "kind" in item else from_payload(item)
    return SkyError(str(item))


def _seconds(value: object) -> Optional[float]:
    """Reads a duration: ``{"secs": 1, "nanos": 0}`` or a number of seconds."""
    if isinstance(value, dict):
        return float(value.get("secs", 0)) + float(value.get("nanos", 0)) / 1e9
    return float(value) if isinstance(value, (int, float)) else None
