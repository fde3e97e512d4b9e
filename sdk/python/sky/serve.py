"""Services: ``sky.serve.up`` and what belongs to it.

A server that has none raises :class:`sky.exceptions.NotSupportedError`. Arguments mean what they mean in ``sky``.
"""

from __future__ import annotations

from typing import Any, Optional, Sequence, TextIO, Union

from .client import download, stream
from .client.sdk import prepared, submit
from .client.session import RequestId, open_session
from .dag import Dag
from .task import Task

__all__ = ["down", "download_logs", "status", "sync_down_logs", "tail_logs", "terminate_replica", "up", "update"]


def up(task: Union[Task, Dag], service_name: str) -> RequestId[tuple[str, str]]:
    """Starts a service; the result is its name and its endpoint."""
    session = open_session()
    dag, blob = prepared(session, task)
    body = {
        **session.common("serve.up"),
        "file_mounts_blob_id": blob,
        "task": dag.to_text(),
        "service_name": service_name,
    }
    return session.submit("/serve/up", body, "serve.up")


def update(task: Union[Task, Dag], service_name: str, mode: str = "rolling") -> RequestId[None]:
    """Brings a service to another task, replica by replica (``rolling``) or at once (``blue_green``)."""
    session = open_session()
    dag, blob = prepared(session, task)
    body = {
        **session.common("serve.update"),
        "file_mounts_blob_id": blob,
        "task": dag.to_text(),
        "service_name": service_name,
        "mode": mode,
    }
    return session.submit("/serve/update", body, "serve.update")


def down(
    service_names: Union[str, Sequence[str], None],
    all: bool = False,  # noqa: A002
    purge: bool = False,
) -> RequestId[None]:
    """Tears services down."""
    return submit("serve.down", "/serve/down", service_names=_names(service_names), all=all, purge=purge)


def terminate_replica(service_name: str, replica_id: int, purge: bool = False) -> RequestId[None]:
    """Ends one replica."""
    return submit(
        "serve.terminate_replica",
        "/serve/terminate-replica",
        service_name=service_name,
        replica_id=replica_id,
        purge=purge,
    )


def status(service_names: Union[str, Sequence[str], None] = None) -> RequestId[list[dict[str, Any]]]:
    """Lists services."""
    return submit("serve.status", "/serve/status", service_names=_names(service_names))


def tail_logs(
    service_name: str,
    target: str = "controller",
    replica_id: Optional[int] = None,
    follow: bool = True,
    output_stream: Optional[TextIO] = None,
    tail: Optional[int] = None,
) -> None:
    """Writes a log of a service: of its ``controller``, its ``load_balancer`` or a ``replica``."""
    session = open_session()
    body = {
        **session.common("serve.tail_logs"),
        "service_name": service_name,
        "target": target,
        "replica_id": replica_id,
        "follow": follow,
        "tail": tail,
    }
    stream.show(stream.follow_post(session, "/serve/logs", body), output_stream)


def download_logs(
    service_name: str,
    *,
    targets: Union[str, Sequence[str], None] = None,
    replica_ids: Optional[Sequence[int]] = None,
    tail: Optional[int] = None,
) -> str:
    """Downloads the logs of a service; returns their directory."""
    session = open_session()
    body = {
        **session.common("serve.sync_down_logs"),
        "service_name": service_name,
        "local_dir": "~/sky_logs",
        "targets": _names(targets),
        "replica_ids": None if replica_ids is None else list(replica_ids),
        "tail": tail,
    }
    directory = session.result(session.submit("/serve/sync-down-logs", body, "serve.sync_down_logs"))
    return download.fetch(session, session.common("serve.sync_down_logs"), {"": directory})[""]


#: The name by which SkyPilot has it.
sync_down_logs = download_logs


def _names(names: Union[str, Sequence[str], None]) -> Union[str, list[str], None]:
    return names if names is None or isinstance(names, str) else list(names)
