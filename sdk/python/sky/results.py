"""What requests result in: records, and the one place where JSON of the server becomes objects.

Nothing is ever unpickled. What only a pickle of SkyPilot's server carries (handles) is ``None``.
Times are seconds since the epoch, memory is in GB, money in US dollars, unless a field says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Callable, Iterator, NamedTuple, Optional, Type, TypeVar

from .states import ClusterStatus, JobStatus, ManagedJobStatus, RequestStatus, Word

_R = TypeVar("_R", bound="Record")


@dataclass
class Record:
    """A result with named fields, which can be read by key as well (``record["name"]``), as SkyPilot's."""

    @classmethod
    def from_json(cls: Type[_R], data: dict[str, Any]) -> _R:
        """Makes a record of a JSON object; unknown fields are left out."""
        known = {}
        for one in fields(cls):
            if one.name in data:
                convert: Callable[[Any], Any] = one.metadata.get("convert", lambda value: value)
                known[one.name] = convert(data[one.name])
        return cls(**known)

    def __getitem__(self, key: str) -> Any:
        if key in self.keys():
            return getattr(self, key)
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return key in self.keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def get(self, key: str, default: Any = None) -> Any:
        """Returns a field, or ``default`` where there is no such field."""
        return getattr(self, key) if key in self.keys() else default

    def keys(self) -> list[str]:
        """Returns the names of the fields."""
        return [one.name for one in fields(self)]

    def items(self) -> list[tuple[str, Any]]:
        """Returns names and values of the fields."""
        return [(name, getattr(self, name)) for name in self.keys()]


def _status(enumeration: Type[Word]) -> Any:
    """A field that holds a state."""
    return field(metadata={"convert": enumeration})


def _maybe(convert: Callable[[Any], Any]) -> Any:
    """A field that may be absent or null."""
    return field(default=None, metadata={"convert": lambda value: None if value is None else convert(value)})


@dataclass
class ClusterHandle(Record):
    """Where a cluster is."""

    cluster_name: str
    cluster_name_on_cloud: str = ""
    #: Number of nodes.
    launched_nodes: int = 1
    #: ``infra`` and ``instance_type`` of the nodes.
    launched_resources: dict[str, Any] = field(default_factory=dict)
    #: Internal and external address of each node, the head first.
    stable_internal_external_ips: Optional[list[tuple[str, str]]] = _maybe(
        lambda pairs: [(str(pair[0]), str(pair[1])) for pair in pairs]
    )
    stable_ssh_ports: Optional[list[int]] = None
    ssh_user: Optional[str] = None
    docker_user: Optional[str] = None

    @property
    def head_ip(self) -> Optional[str]:
        """The address of the head node, as it is reached from outside."""
        ips = self.stable_internal_external_ips
        return ips[0][1] if ips else None

    def __str__(self) -> str:
        infra = self.launched_resources.get("infra", "")
        return f"{self.cluster_name} ({self.launched_nodes}x {infra})"


def _handle(value: Any) -> Optional[ClusterHandle]:
    """Reads a handle; a pickle reads as nothing."""
    return ClusterHandle.from_json(value) if isinstance(value, dict) and "cluster_name" in value else None


@dataclass
class ClusterRecord(Record):
    """A cluster, as ``sky.status()`` lists it."""

    name: str
    status: ClusterStatus = _status(ClusterStatus)
    launched_at: Optional[int] = None
    #: Idle minutes until autostop; -1 is none.
    autostop: int = -1
    #: Autostop tears down instead of stopping.
    to_down: bool = False
    #: Unique id of this life of the name.
    cluster_hash: str = ""
    #: Whether it was UP at least once.
    cluster_ever_up: bool = False
    user_hash: str = ""
    user_name: str = ""
    workspace: str = "default"
    is_managed: bool = False
    #: Number of nodes.
    nodes: int = 0
    #: ``1x(cpus=2, mem=8, ...)``
    resources_str: Optional[str] = None
    #: The same with everything.
    resources_str_full: Optional[str] = None
    cloud: Optional[str] = None
    region: Optional[str] = None
    zone: Optional[str] = None
    #: CPUs of a node.
    cpus: Optional[str] = None
    #: Memory of a node.
    memory: Optional[str] = None
    #: Accelerators of a node, ``H100:8``.
    accelerators: Optional[str] = None
    #: Address of the head node.
    head_ip: Optional[str] = None
    last_event: Optional[str] = None
    #: The command line of the last launch.
    last_use: Optional[str] = None
    status_updated_at: Optional[int] = None
    handle: Optional[ClusterHandle] = field(default=None, metadata={"convert": _handle})
    #: SSH credentials.
    credentials: Optional[dict[str, Any]] = None


@dataclass
class JobRecord(Record):
    """A job, as ``sky.queue()`` lists it."""

    #: Number on its cluster.
    job_id: int
    job_name: str
    status: JobStatus = _status(JobStatus)
    #: Display name of the owner.
    username: str = ""
    user_hash: str = ""
    submitted_at: Optional[float] = None
    start_at: Optional[float] = None
    end_at: Optional[float] = None
    #: ``1x[CPU:1+]``
    resources: str = ""
    #: Log directory on the head node.
    log_path: str = ""
    #: Exit code of each rank, where known.
    exit_codes: list[Optional[int]] = field(default_factory=list)
    #: Why it is in this state, where that is not plain.
    reason: Optional[str] = None
    metadata: Any = None


@dataclass
class CostRecord(Record):
    """A cluster's life in money, as ``sky.cost_report()`` lists it."""

    name: str
    launched_at: Optional[int] = None
    #: Seconds of use.
    duration: int = 0
    num_nodes: int = 1
    #: Shape of the resources; ``None`` where only a pickle says it.
    resources: Optional[dict[str, Any]] = field(
        default=None, metadata={"convert": lambda value: value if isinstance(value, dict) else None}
    )
    cluster_hash: str = ""
    #: Begin and end of each use; the end of a running one is ``None``.
    usage_intervals: list[tuple[int, Optional[int]]] = field(
        default_factory=list, metadata={"convert": lambda rows: [(row[0], row[1]) for row in rows or []]}
    )
    #: ``None`` is a cluster that was torn down.
    status: Optional[ClusterStatus] = _maybe(ClusterStatus)
    user_hash: str = ""
    user_name: str = ""
    #: Dollars.
    total_cost: float = 0.0
    #: Dollars an hour.
    hourly_cost: float = 0.0
    cloud: Optional[str] = None
    resources_str: Optional[str] = None


class InstanceTypeInfo(NamedTuple):
    """Where an accelerator is offered, as ``sky.list_accelerators()`` lists it."""

    cloud: str
    instance_type: Optional[str]
    accelerator_name: str
    accelerator_count: float
    cpu_count: Optional[float]
    #: GB of each accelerator.
    device_memory: Optional[float]
    #: GB of the machine.
    memory: Optional[float]
    #: Dollars an hour.
    price: Optional[float]
    spot_price: Optional[float]
    region: Optional[str]


@dataclass
class RequestRecord(Record):
    """A request on the API server, as ``sky.api_status()`` lists it."""

    request_id: str
    #: ``sky.`` and the verb.
    name: str
    status: RequestStatus = _status(RequestStatus)
    created_at: float = 0.0
    finished_at: Optional[float] = None
    user_id: str = ""
    user_name: Optional[str] = None
    cluster_name: Optional[str] = None
    #: ``long`` or ``short``.
    schedule_type: str = ""
    #: Why it waits.
    status_msg: Optional[str] = None
    #: The body as JSON text, where it was asked for.
    request_body: str = ""


@dataclass
class ManagedJobRecord(Record):
    """A task of a managed job, as ``sky.jobs.queue()`` lists it."""

    status: ManagedJobStatus = _status(ManagedJobStatus)
    job_id: Optional[int] = None
    task_id: Optional[int] = None
    job_name: Optional[str] = None
    task_name: Optional[str] = None
    #: What was asked for, ``1x[CPU:1+]``.
    resources: Optional[str] = None
    #: What it runs on.
    cluster_resources: Optional[str] = None
    cloud: Optional[str] = None
    region: Optional[str] = None
    submitted_at: Optional[float] = None
    start_at: Optional[float] = None
    end_at: Optional[float] = None
    #: Seconds of work.
    job_duration: Optional[float] = None
    recovery_count: int = 0
    failure_reason: Optional[str] = None
    user_name: Optional[str] = None
    workspace: Optional[str] = None
    pool: Optional[str] = None


@dataclass
class User(Record):
    """The caller as the server knows it."""

    id: str
    name: Optional[str] = None
    #: ``admin``, ``user`` or ``viewer``.
    role: Optional[str] = None


@dataclass
class ServerInfo(Record):
    """What a server says of itself (``sky.api_info()``)."""

    status: str
    #: Number of the API that it speaks.
    api_version: Optional[str] = None
    #: Release in SkyPilot's numbering.
    version: Optional[str] = None
    commit: Optional[str] = None
    #: Its own release; ``None`` is SkyPilot's server.
    sky_version: Optional[str] = None
    user: Optional[User] = _maybe(User.from_json)
    basic_auth_enabled: bool = False
    service_account_token_enabled: bool = False
    #: Process of a local server.
    pid: Optional[int] = None
    #: Where it was reached; set by the client.
    endpoint: str = ""


#: What launch and exec result in: the job, and where the cluster is.
LaunchResult = tuple[Optional[int], Optional[ClusterHandle]]
#: The same of managed jobs, which may be several.
ManagedLaunchResult = tuple[Optional[list[int]], Optional[ClusterHandle]]


def _launched(value: Any) -> tuple[Any, Optional[ClusterHandle]]:
    if isinstance(value, dict):
        return value.get("job_id"), _handle(value.get("handle"))
    if isinstance(value, list) and len(value) >= 2:
        return value[0], _handle(value[1])
    return None, None


def _job_states(value: dict[str, Any]) -> dict[Optional[int], Optional[JobStatus]]:
    return {
        (None if job == "None" else int(job)): (None if state is None else JobStatus(state))
        for job, state in value.items()
    }


def _offers(value: dict[str, list[Any]]) -> dict[str, list[InstanceTypeInfo]]:
    return {name: [InstanceTypeInfo(*row[:10]) for row in rows] for name, rows in value.items()}


def _endpoints(value: dict[str, str]) -> dict[int, str]:
    return {int(port): url for port, url in value.items()}


def _managed_jobs(value: Any) -> list[ManagedJobRecord]:
    rows = value.get("jobs", []) if isinstance(value, dict) else value
    return [ManagedJobRecord.from_json(row) for row in rows]


#: How the result of a request is read, by its name; others are plain JSON.
_READERS: dict[str, Callable[[Any], Any]] = {
    "launch": _launched,
    "exec": _launched,
    "start": _handle,
    "status": lambda rows: [ClusterRecord.from_json(row) for row in rows],
    "queue": lambda rows: [JobRecord.from_json(row) for row in rows],
    "job_status": _job_states,
    "cost_report": lambda rows: [CostRecord.from_json(row) for row in rows],
    "list_accelerators": _offers,
    "endpoints": _endpoints,
    "jobs.launch": _launched,
    "jobs.queue": _managed_jobs,
    "jobs.queue_v2": _managed_jobs,
}


def read(name: str, value: Any) -> Any:
    """Makes the result of the request ``name`` (``sky.launch``) of the JSON that the server sent."""
    name = name[4:] if name.startswith("sky.") else name
    reader = _READERS.get(name)
    if reader is None or (value is None and reader is not _launched):
        return value
    return reader(value)
