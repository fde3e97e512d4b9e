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


class SkyError(Exception):
    """Base class of all errors of this package."""

    #: The kind of the error where the server names none.
    default_code = "internal"

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


class InvalidRequestError(SkyError, ValueError):
    """A value that the caller gave does not make sense."""

    default_code = "invalid"


class InvalidTaskError(InvalidRequestError):
    """A task is wrong."""

    default_code = "invalid_task"


class InvalidTaskYAMLError(InvalidTaskError):
    """The text of a task cannot be read."""


class InvalidClusterNameError(SkyError):
    """A name breaks the rules for names."""

    default_code = "invalid_name"


class InvalidSkyPilotConfigError(SkyError, ValueError):
    """A configuration file or value is wrong."""

    default_code = "invalid_config"


class NotFoundError(SkyError, ValueError):
    """Something named does not exist: a request, a path, a job."""

    default_code = "not_found"


class AmbiguousIdError(SkyError, ValueError):
    """A prefix or pattern matches several things."""

    default_code = "ambiguous"


class ClusterDoesNotExist(SkyError, ValueError):
    """The cluster does not exist."""

    default_code = "cluster_not_found"


class ClusterNotUpError(SkyError):
    """The cluster exists but is not UP."""

    default_code = "cluster_not_up"

    @property
    def cluster_status(self) -> Optional[ClusterStatus]:
        """The state of the cluster, where the server says it."""
        status = self.attributes.get("cluster_status")
        return ClusterStatus(status) if isinstance(status, str) else None


class ClusterSetUpError(SkyError):
    """A command on a node of the cluster failed."""

    default_code = "command_failed"


class CommandError(ClusterSetUpError):
    """A command failed."""


class ResourcesMismatchError(SkyError):
    """The existing cluster does not offer what the task asks for."""

    default_code = "resources_mismatch"


class ResourcesUnavailableError(SkyError):
    """No enabled infra offers what the task asks for, or all refused."""

    default_code = "resources_unavailable"

    @property
    def failover_history(self) -> list[SkyError]:
        """What each place that was tried answered, in that order."""
        history = self.attributes.get("failover_history")
        return [_past(item) for item in history] if isinstance(history, list) else []

    @property
    def no_failover(self) -> bool:
        """Whether trying another place was ruled out."""
        return bool(self.attributes.get("no_failover", False))


class NoCloudAccessError(SkyError):
    """No infra is enabled, or not the one that was asked for."""

    default_code = "no_cloud_access"


class NotSupportedError(SkyError):
    """The server (or the cloud) cannot do this."""

    default_code = "not_supported"


class ConflictError(SkyError, RuntimeError):
    """The state of the thing forbids the operation now."""

    default_code = "conflict"


class PermissionDeniedError(SkyError):
    """The credentials do not permit this."""

    default_code = "permission_denied"


class ApiServerAuthenticationError(PermissionDeniedError, RuntimeError):
    """The server demands credentials, or refuses those that were given."""

    default_code = "unauthenticated"


class ApiServerConnectionError(SkyError, RuntimeError):
    """The server cannot be reached."""

    default_code = "unreachable"


class APIVersionMismatchError(SkyError, RuntimeError):
    """Client and server speak different versions."""

    default_code = "version_mismatch"


class ServerTemporarilyUnavailableError(SkyError, RuntimeError):
    """The server has too much to do; the same call may succeed later."""

    default_code = "too_busy"


class TooLargeError(SkyError, ValueError):
    """A body, file or value is larger than permitted."""

    default_code = "too_large"


class StorageFullError(SkyError, RuntimeError):
    """A disk (or a quota) is full."""

    default_code = "storage_full"


class RequestTimeoutError(SkyError, TimeoutError):
    """A deadline passed."""

    default_code = "timeout"


class RequestCancelled(SkyError):
    """The request was cancelled."""

    default_code = "cancelled"


class RequestInterruptedError(SkyError):
    """The request was cut off and cannot be resumed."""

    default_code = "interrupted"


class InternalServerError(SkyError, RuntimeError):
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


#: The class of each kind of error of the server.
_BY_CODE: dict[str, Type[SkyError]] = {
    cls.default_code: cls
    for cls in (
        InvalidRequestError,
        InvalidTaskError,
        InvalidClusterNameError,
        InvalidSkyPilotConfigError,
        NotFoundError,
        AmbiguousIdError,
        ClusterDoesNotExist,
        ClusterNotUpError,
        ClusterSetUpError,
        ResourcesMismatchError,
        ResourcesUnavailableError,
        NoCloudAccessError,
        NotSupportedError,
        ConflictError,
        PermissionDeniedError,
        ApiServerAuthenticationError,
        ApiServerConnectionError,
        APIVersionMismatchError,
        ServerTemporarilyUnavailableError,
        TooLargeError,
        StorageFullError,
        RequestTimeoutError,
        RequestCancelled,
        RequestInterruptedError,
        InternalServerError,
    )
}
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
