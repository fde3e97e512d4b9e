"""States and other words of the wire."""

from __future__ import annotations

import enum
from typing import Optional


class Word(str, enum.Enum):
    """A state whose text on the wire is its name."""

    def __str__(self) -> str:
        return str(self.value)


class State(Word):
    """A state of something on the server. One that a newer server has is taken as it is written."""

    @classmethod
    def _missing_(cls, value: object) -> Optional[State]:
        if not isinstance(value, str) or not value.isupper():
            return None
        made = str.__new__(cls, value)
        made._name_ = made._value_ = value
        return made


class ClusterStatus(State):
    """State of a cluster."""

    INIT = "INIT"
    UP = "UP"
    STOPPED = "STOPPED"
    AUTOSTOPPING = "AUTOSTOPPING"
    PENDING = "PENDING"


class JobStatus(State):
    """State of a job on a cluster."""

    INIT = "INIT"
    PENDING = "PENDING"
    SETTING_UP = "SETTING_UP"
    RUNNING = "RUNNING"
    FAILED_DRIVER = "FAILED_DRIVER"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    FAILED_SETUP = "FAILED_SETUP"
    CANCELLED = "CANCELLED"

    def is_terminal(self) -> bool:
        """Returns whether nothing will change any more."""
        return self in (JobStatus.SUCCEEDED, JobStatus.CANCELLED) or self.startswith("FAILED")


class ManagedJobStatus(State):
    """State of a managed job."""

    PENDING = "PENDING"
    SUBMITTED = "SUBMITTED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    WINDING_DOWN = "WINDING_DOWN"
    RECOVERING = "RECOVERING"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"
    FAILED_SETUP = "FAILED_SETUP"
    FAILED_PRECHECKS = "FAILED_PRECHECKS"
    FAILED_NO_RESOURCE = "FAILED_NO_RESOURCE"
    FAILED_CONTROLLER = "FAILED_CONTROLLER"

    def is_terminal(self) -> bool:
        """Returns whether nothing will change any more."""
        return self.is_failed() or self in (ManagedJobStatus.SUCCEEDED, ManagedJobStatus.CANCELLED)

    def is_failed(self) -> bool:
        """Returns whether the job ended without success."""
        return self.startswith("FAILED")


class RequestStatus(State):
    """State of a request on the API server."""

    PENDING = "PENDING"
    WAITING = "WAITING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    def is_finished(self) -> bool:
        """Returns whether nothing will change any more."""
        return self in (RequestStatus.SUCCEEDED, RequestStatus.FAILED, RequestStatus.CANCELLED)


class StatusRefreshMode(Word):
    """How fresh a status must be."""

    #: As stored.
    NONE = "NONE"
    #: As stored, unless it may have changed by itself.
    AUTO = "AUTO"
    #: As the nodes and the cloud say now.
    FORCE = "FORCE"


class AutostopWaitFor(Word):
    """What keeps the idle timer of autostop from running."""

    JOBS_AND_SSH = "jobs_and_ssh"
    JOBS = "jobs"
    NONE = "none"


class JobExitCode(enum.IntEnum):
    """What following a job returns: the exit code of ``sky logs``."""

    SUCCEEDED = 0
    FAILED = 100
    NOT_FINISHED = 101
    NOT_FOUND = 102
    CANCELLED = 103

    @classmethod
    def from_job_status(cls, status: Optional[JobStatus]) -> JobExitCode:
        """Returns the code of how a job stands; ``None`` is a job that does not exist."""
        if status is None:
            return cls.NOT_FOUND
        if not status.is_terminal():
            return cls.NOT_FINISHED
        if status is JobStatus.SUCCEEDED:
            return cls.SUCCEEDED
        return cls.CANCELLED if status is JobStatus.CANCELLED else cls.FAILED
