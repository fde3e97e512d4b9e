"""Calls on clusters and jobs. Most return the id of a request: :func:`sky.get` waits for its result,
:func:`sky.stream_and_get` shows its log meanwhile. Errors are those of :mod:`sky.exceptions`."""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING, Any, Optional, Sequence, Union

from .. import dag as dags, exceptions
from ..states import AutostopWaitFor, StatusRefreshMode
from . import identity, verbs
from .api import api_cancel, api_info, api_server_logs, api_start, api_status, api_stop, get, stream_and_get
from .login import api_login, api_logout
from .logs import download_logs, tail_logs, tail_provision_logs
from .session import RequestId, open_session
from .verbs import Entrypoint, Names, items, names, submit, submit_task

if TYPE_CHECKING:
    from ..results import (
        ClusterHandle,
        ClusterRecord,
        CostRecord,
        InstanceTypeInfo,
        JobRecord,
        LaunchResult,
    )
    from ..states import JobStatus

__all__ = [
    "api_cancel",
    "api_info",
    "api_login",
    "api_logout",
    "api_server_logs",
    "api_start",
    "api_status",
    "api_stop",
    "autostop",
    "cancel",
    "check",
    "cost_report",
    "down",
    "download_logs",
    "enabled_clouds",
    "endpoints",
    "exec",
    "get",
    "job_status",
    "launch",
    "list_accelerator_counts",
    "list_accelerators",
    "optimize",
    "queue",
    "ssh_down",
    "ssh_list",
    "ssh_up",
    "start",
    "status",
    "stop",
    "stream_and_get",
    "tail_logs",
    "tail_provision_logs",
    "validate",
]


def validate(dag: Entrypoint) -> None:
    """Lets the server check a task or dag. Raises ``InvalidTaskError`` and its kin."""
    verbs.validate(open_session(), dags.of(dag))


def optimize(dag: Entrypoint) -> RequestId[None]:
    """Plans a launch: the log of the request shows what fits, what it costs and what would be taken."""
    return submit("optimize", "/optimize", dag=dags.of(dag).to_text(), request_options=None)


def launch(
    task: Entrypoint,
    cluster_name: Optional[str] = None,
    retry_until_up: bool = False,
    idle_minutes_to_autostop: Optional[int] = None,
    wait_for: Union[AutostopWaitFor, str, None] = None,
    dryrun: bool = False,
    down: bool = False,
    *,
    no_setup: bool = False,
    clone_disk_from: Optional[str] = None,
    fast: bool = False,
    resize: bool = False,
) -> RequestId[LaunchResult]:
    """Runs a task on a cluster, which is made unless there is one of that name.

    ``idle_minutes_to_autostop`` stops the cluster after so many idle minutes (-1: never), with ``down`` it is torn
    down instead; ``wait_for`` says what counts as not idle. ``dryrun`` only plans, ``retry_until_up`` tries for ever
    when nothing has capacity, ``no_setup`` skips ``setup``, ``fast`` skips provisioning and setup on a cluster that
    is up and fits, ``resize`` grows or shrinks the cluster to the task's number of nodes.

    The result is the number of the job (``None`` without ``run``) and where the cluster is.
    """
    entrypoint = dags.of(task)
    if idle_minutes_to_autostop is not None or down:
        minutes = 0 if idle_minutes_to_autostop is None else idle_minutes_to_autostop
        plain = None if wait_for is None else str(AutostopWaitFor(wait_for))
        planned = copy.copy(entrypoint)
        planned.tasks = [one.with_autostop(minutes, down, plain) for one in entrypoint.tasks]
        entrypoint = planned
    elif wait_for is not None:
        raise exceptions.InvalidRequestError("`wait_for` needs `idle_minutes_to_autostop` or `down`")
    return submit_task(
        "launch",
        "/launch",
        entrypoint,
        cluster_name=cluster_name or _fresh_name(),
        retry_until_up=retry_until_up,
        dryrun=dryrun,
        no_setup=no_setup,
        clone_disk_from=clone_disk_from,
        fast=fast,
        resize=resize,
    )


def _fresh_name() -> str:
    """Returns a name for a cluster that nobody named: ``sky-1f2e-ann``."""
    user = "".join(c for c in identity.of_user().name.lower() if c.isascii() and c.isalnum())[:40] or "user"
    return f"sky-{os.urandom(2).hex()}-{user}"


def exec(  # noqa: A001
    task: Entrypoint,
    cluster_name: str,
    dryrun: bool = False,
) -> RequestId[LaunchResult]:
    """Runs a task on a cluster that is up, without setup. The result is the number of the job and where it runs."""
    return submit_task("exec", "/exec", task, cluster_name=cluster_name, dryrun=dryrun)


def status(
    cluster_names: Names = None,
    refresh: Union[StatusRefreshMode, str] = StatusRefreshMode.NONE,
    all_users: bool = False,
) -> RequestId[list[ClusterRecord]]:
    """Lists clusters: those of these names or patterns, else all."""
    given = [cluster_names] if isinstance(cluster_names, str) else cluster_names
    return submit(
        "status",
        "/status",
        cluster_names=items(given),
        refresh=str(StatusRefreshMode(refresh)),
        all_users=all_users,
        include_credentials=False,
        include_handle=True,
    )


def start(
    cluster_name: str,
    idle_minutes_to_autostop: Optional[int] = None,
    wait_for: Union[AutostopWaitFor, str, None] = None,
    retry_until_up: bool = False,
    down: bool = False,
    force: bool = False,
) -> RequestId[Optional[ClusterHandle]]:
    """Starts a stopped cluster; with ``force`` one that is up is repaired."""
    return submit(
        "start",
        "/start",
        cluster_name=cluster_name,
        idle_minutes_to_autostop=idle_minutes_to_autostop,
        wait_for=None if wait_for is None else str(AutostopWaitFor(wait_for)),
        retry_until_up=retry_until_up,
        down=down,
        force=force,
    )


def stop(
    cluster_name: str, purge: bool = False, graceful: bool = False, graceful_timeout: Optional[int] = None
) -> RequestId[None]:
    """Stops a cluster; its disks stay. ``graceful`` ends jobs first, for at most ``graceful_timeout`` seconds."""
    fields = {"purge": purge, "graceful": graceful, "graceful_timeout": graceful_timeout}
    return submit("stop", "/stop", cluster_name=cluster_name, **fields)


def down(
    cluster_name: str, purge: bool = False, graceful: bool = False, graceful_timeout: Optional[int] = None
) -> RequestId[None]:
    """Tears a cluster down with its disks. ``purge`` forgets it although that failed."""
    fields = {"purge": purge, "graceful": graceful, "graceful_timeout": graceful_timeout}
    return submit("down", "/down", cluster_name=cluster_name, **fields)


def autostop(
    cluster_name: str,
    idle_minutes: int,
    wait_for: Union[AutostopWaitFor, str, None] = None,
    down: bool = False,
) -> RequestId[None]:
    """Lets a cluster stop (or be torn down) after so many idle minutes; a negative number cancels that."""
    return submit(
        "autostop",
        "/autostop",
        cluster_name=cluster_name,
        idle_minutes=idle_minutes,
        wait_for=None if wait_for is None else str(AutostopWaitFor(wait_for)),
        down=down,
    )


def queue(cluster_name: str, skip_finished: bool = False, all_users: bool = False) -> RequestId[list[JobRecord]]:
    """Lists the jobs of a cluster, newest first."""
    return submit("queue", "/queue", cluster_name=cluster_name, skip_finished=skip_finished, all_users=all_users)


def job_status(
    cluster_name: str, job_ids: Optional[Sequence[int]] = None
) -> RequestId[dict[Optional[int], Optional[JobStatus]]]:
    """Says how jobs stand, the latest one unless they are named; ``None`` is a job that does not exist."""
    return submit("job_status", "/job_status", cluster_name=cluster_name, job_ids=items(job_ids))


def cancel(
    cluster_name: str,
    all: bool = False,  # noqa: A002
    all_users: bool = False,
    job_ids: Optional[Sequence[int]] = None,
) -> RequestId[None]:
    """Cancels jobs: these, or ``all`` of the user, or those of ``all_users``; else the latest one that runs."""
    fields = {"job_ids": items(job_ids), "all": all, "all_users": all_users}
    return submit("cancel", "/cancel", cluster_name=cluster_name, **fields)


def check(
    infra_list: Optional[Sequence[str]] = None, verbose: bool = False
) -> RequestId[dict[str, dict[str, list[str]]]]:
    """Finds out which infra can be used; the result says it for each workspace."""
    return submit("check", "/check", clouds=items(infra_list), verbose=verbose)


def enabled_clouds() -> RequestId[list[str]]:
    """Lists the infra that can be used, as far as it is known."""
    return open_session().submit("/enabled_clouds", None, "enabled_clouds")


def list_accelerators(
    gpus_only: bool = True,
    name_filter: Optional[str] = None,
    region_filter: Optional[str] = None,
    quantity_filter: Optional[int] = None,
    clouds: Names = None,
    all_regions: bool = False,
) -> RequestId[dict[str, list[InstanceTypeInfo]]]:
    """Lists where accelerators are offered, and for how much."""
    return submit(
        "list_accelerators",
        "/list_accelerators",
        gpus_only=gpus_only,
        name_filter=name_filter,
        region_filter=region_filter,
        quantity_filter=quantity_filter,
        clouds=names(clouds),
        all_regions=all_regions,
    )


def list_accelerator_counts(
    gpus_only: bool = True,
    name_filter: Optional[str] = None,
    region_filter: Optional[str] = None,
    quantity_filter: Optional[int] = None,
    clouds: Names = None,
) -> RequestId[dict[str, list[float]]]:
    """Lists accelerators and the quantities in which they are offered."""
    return submit(
        "list_accelerator_counts",
        "/list_accelerator_counts",
        gpus_only=gpus_only,
        name_filter=name_filter,
        region_filter=region_filter,
        quantity_filter=quantity_filter,
        clouds=names(clouds),
    )


def cost_report(days: Optional[int] = None) -> RequestId[list[CostRecord]]:
    """Lists what clusters have cost, those of the last ``days`` days or all."""
    return submit("cost_report", "/cost_report", days=days)


def ssh_up(infra: Optional[str] = None) -> RequestId[list[dict[str, Any]]]:
    """Gets the SSH hosts of one pool or of all ready for launches, and says what each has."""
    return submit("ssh_node_pools.up", "/ssh_node_pools/deploy", infra=infra)


def ssh_down(infra: Optional[str] = None) -> RequestId[list[dict[str, Any]]]:
    """Removes everything of sky from SSH hosts; refused while a cluster uses one of them."""
    return submit("ssh_node_pools.down", "/ssh_node_pools/down", infra=infra)


def ssh_list(infra: Optional[str] = None) -> RequestId[list[dict[str, Any]]]:
    """Lists SSH hosts with what they have, what of it is free, and who uses them."""
    return submit("ssh_node_pools.list", "/ssh_node_pools/list", infra=infra)


def endpoints(cluster: str, port: Union[int, str, None] = None) -> RequestId[dict[int, str]]:
    """Says where the open ports of a cluster are reached."""
    return submit("endpoints", "/endpoints", cluster=cluster, port=port)
