"""Calls on managed jobs and on pools of workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, Sequence, TextIO

from ...client import verbs
from ...client.session import RequestId
from ...client.verbs import Entrypoint, Names
from ...states import JobExitCode, ManagedJobStatus

if TYPE_CHECKING:
    from ...results import ManagedJobRecord, ManagedLaunchResult

__all__ = [
    "cancel",
    "download_logs",
    "launch",
    "pool_apply",
    "pool_down",
    "pool_status",
    "pool_sync_down_logs",
    "pool_tail_logs",
    "queue",
    "tail_logs",
    "wait",
]


def launch(
    task: Entrypoint,
    name: Optional[str] = None,
    pool: Optional[str] = None,
    num_jobs: Optional[int] = None,
) -> RequestId[ManagedLaunchResult]:
    """Runs a task (or a pipeline) on clusters of its own that are replaced when they are lost."""
    return verbs.submit_task("jobs.launch", "/jobs/launch", task, name=name, pool=pool, num_jobs=num_jobs)


def queue(
    refresh: bool = False,
    skip_finished: bool = False,
    all_users: bool = False,
    job_ids: Optional[Sequence[int]] = None,
) -> RequestId[list[ManagedJobRecord]]:
    """Lists managed jobs."""
    return verbs.submit(
        "jobs.queue_v2",
        "/jobs/queue/v2",
        refresh=refresh,
        skip_finished=skip_finished,
        all_users=all_users,
        job_ids=verbs.items(job_ids),
    )


def cancel(
    name: Optional[str] = None,
    job_ids: Optional[Sequence[int]] = None,
    all: bool = False,  # noqa: A002
    all_users: bool = False,
    pool: Optional[str] = None,
) -> RequestId[None]:
    """Cancels managed jobs: of this name, with these numbers, of this pool, or ``all`` of the user."""
    fields = {"name": name, "job_ids": verbs.items(job_ids), "all": all, "all_users": all_users, "pool": pool}
    return verbs.submit("jobs.cancel", "/jobs/cancel", **fields)


def tail_logs(
    name: Optional[str] = None,
    job_id: Optional[int] = None,
    follow: bool = True,
    controller: bool = False,
    refresh: bool = False,
    tail: Optional[int] = None,
    output_stream: Optional[TextIO] = None,
) -> int:
    """Writes the log of a managed job, the latest one unless it is named; returns its exit code."""
    chosen = {"name": name, "job_id": job_id, "controller": controller}
    fields = {**chosen, "follow": follow, "refresh": refresh, "tail": tail}
    return _exit_code(verbs.follow("jobs.tail_logs", "/jobs/logs", output_stream, **fields).outcome)


def wait(
    name: Optional[str] = None,
    job_id: Optional[int] = None,
    timeout: Optional[int] = None,
    poll_interval: int = 15,
) -> RequestId[int]:
    """Waits for a managed job, at most ``timeout`` seconds; the result is its exit code."""
    fields = {"name": name, "job_id": job_id, "timeout": timeout, "poll_interval": poll_interval}
    return verbs.submit("jobs.wait", "/jobs/wait", **fields)


def download_logs(
    name: Optional[str] = None,
    job_id: Optional[int] = None,
    refresh: bool = False,
    controller: bool = False,
) -> dict[str, str]:
    """Downloads the logs of a managed job; returns the directory of each."""
    fields = {"name": name, "job_id": job_id, "refresh": refresh, "controller": controller, "local_dir": "~/sky_logs"}
    places: dict[str, str] = verbs.fetch("jobs.download_logs", "/jobs/download_logs", **fields)
    return places


def pool_apply(
    task: Optional[Entrypoint],
    pool_name: str,
    mode: str = "rolling",
    workers: Optional[int] = None,
) -> RequestId[None]:
    """Makes a pool of workers, or changes it; without a task only their number."""
    fields = {"workers": workers, "pool_name": pool_name, "mode": mode}
    if task is None:
        return verbs.submit("jobs.pool_apply", "/jobs/pool_apply", task=None, **fields)
    return verbs.submit_task("jobs.pool_apply", "/jobs/pool_apply", task, **fields)


def pool_down(
    pool_names: Names,
    all: bool = False,  # noqa: A002
    purge: bool = False,
) -> RequestId[None]:
    """Tears pools down."""
    return verbs.submit("jobs.pool_down", "/jobs/pool_down", pool_names=verbs.names(pool_names), all=all, purge=purge)


def pool_status(pool_names: Names = None) -> RequestId[list[dict[str, Any]]]:
    """Lists pools."""
    return verbs.submit("jobs.pool_status", "/jobs/pool_status", pool_names=verbs.names(pool_names))


def pool_tail_logs(
    pool_name: str,
    target: str = "controller",
    worker_id: Optional[int] = None,
    follow: bool = True,
    output_stream: Optional[TextIO] = None,
    tail: Optional[int] = None,
) -> None:
    """Writes a log of a pool: of its ``controller`` or of a worker (``replica``)."""
    chosen = {"pool_name": pool_name, "target": target, "worker_id": worker_id}
    verbs.follow("jobs.pool_tail_logs", "/jobs/pool_logs", output_stream, **chosen, follow=follow, tail=tail)


def pool_sync_down_logs(
    pool_name: str,
    *,
    targets: Names = None,
    worker_ids: Optional[Sequence[int]] = None,
    tail: Optional[int] = None,
) -> str:
    """Downloads the logs of a pool; returns their directory."""
    chosen = {"pool_name": pool_name, "targets": verbs.names(targets), "worker_ids": verbs.items(worker_ids)}
    path = "/jobs/pool_sync-down-logs"
    return str(verbs.fetch("jobs.pool_sync_down_logs", path, **chosen, tail=tail, local_dir="~/sky_logs"))


def _exit_code(outcome: Optional[dict[str, Any]]) -> int:
    """Returns the exit code for how a followed job stands; servers that do not say are believed to mean success."""
    if outcome is None:
        return int(JobExitCode.SUCCEEDED)
    word = outcome.get("status")
    if word not in ManagedJobStatus.__members__:
        return int(JobExitCode.NOT_FOUND)
    state = ManagedJobStatus(word)
    if not state.is_terminal():
        return int(JobExitCode.NOT_FINISHED)
    if state is ManagedJobStatus.CANCELLED:
        return int(JobExitCode.CANCELLED)
    return int(JobExitCode.FAILED if state.is_failed() else JobExitCode.SUCCEEDED)
