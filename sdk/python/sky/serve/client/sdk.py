"""Calls on services."""

from __future__ import annotations

from typing import Any, Optional, Sequence, TextIO

from ...client import verbs
from ...client.session import RequestId
from ...client.verbs import Entrypoint, Names

__all__ = ["down", "download_logs", "status", "sync_down_logs", "tail_logs", "terminate_replica", "up", "update"]


def up(task: Entrypoint, service_name: str) -> RequestId[tuple[str, str]]:
    """Starts a service; the result is its name and its endpoint."""
    return verbs.submit_task("serve.up", "/serve/up", task, service_name=service_name)


def update(task: Entrypoint, service_name: str, mode: str = "rolling") -> RequestId[None]:
    """Brings a service to another task, replica by replica (``rolling``) or at once (``blue_green``)."""
    return verbs.submit_task("serve.update", "/serve/update", task, service_name=service_name, mode=mode)


def down(
    service_names: Names,
    all: bool = False,  # noqa: A002
    purge: bool = False,
) -> RequestId[None]:
    """Tears services down."""
    return verbs.submit("serve.down", "/serve/down", service_names=verbs.names(service_names), all=all, purge=purge)


def terminate_replica(service_name: str, replica_id: int, purge: bool = False) -> RequestId[None]:
    """Ends one replica."""
    fields = {"service_name": service_name, "replica_id": replica_id, "purge": purge}
    return verbs.submit("serve.terminate_replica", "/serve/terminate-replica", **fields)


def status(service_names: Names = None) -> RequestId[list[dict[str, Any]]]:
    """Lists services."""
    return verbs.submit("serve.status", "/serve/status", service_names=verbs.names(service_names))


def tail_logs(
    service_name: str,
    target: str = "controller",
    replica_id: Optional[int] = None,
    follow: bool = True,
    output_stream: Optional[TextIO] = None,
    tail: Optional[int] = None,
) -> None:
    """Writes a log of a service: of its ``controller``, its ``load_balancer`` or a ``replica``."""
    chosen = {"service_name": service_name, "target": target, "replica_id": replica_id}
    verbs.follow("serve.tail_logs", "/serve/logs", output_stream, **chosen, follow=follow, tail=tail)


def download_logs(
    service_name: str,
    *,
    targets: Names = None,
    replica_ids: Optional[Sequence[int]] = None,
    tail: Optional[int] = None,
) -> str:
    """Downloads the logs of a service; returns their directory."""
    chosen = {"service_name": service_name, "targets": verbs.names(targets), "replica_ids": verbs.items(replica_ids)}
    path = "/serve/sync-down-logs"
    return str(verbs.fetch("serve.sync_down_logs", path, **chosen, tail=tail, local_dir="~/sky_logs"))


#: The name by which SkyPilot has it.
sync_down_logs = download_logs
