"""Managed jobs: ``sky.jobs.launch`` and what belongs to it.

A server that has none raises :class:`sky.exceptions.NotSupportedError`. Arguments mean what they mean in ``sky``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, Sequence, TextIO, Union

from .client import download, stream
from .client.sdk import prepared, submit
from .client.session import RequestId, open_session
from .dag import Dag
from .states import JobExitCode, ManagedJobStatus
from .task import Task

if TYPE_CHECKING:
    from .results import ClusterHandle, ManagedJobRecord

__all__ = [
    "ManagedJobStatus",
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
    task: Union[Task, Dag],
    name: Optional[str] = None,
    pool: Optional[str] = None,
    num_jobs: Optional[int] = None,
) -> RequestId[tuple[Optional[list[int]], Optional[ClusterHandle]]]:
    """Runs a task (or a pipeline) on clusters of its own that are replaced when they are lost."""
    session = open_session()
    dag, blob = prepared(session, task)
    body = {
        **session.common("jobs.launch"),
        "file_mounts_blob_id": blob,
        "task": dag.to_text(),
        "name": name,
        "pool": pool,
        "num_jobs": num_jobs,
    }
    return session.submit("/jobs/launch", body, "jobs.launch")


def queue(
    refresh: bool = False,
    skip_finished: bool = False,
    all_users: bool = False,
    job_ids: Optional[Sequence[int]] = None,
) -> RequestId[list[ManagedJobRecord]]:
    """Lists managed jobs."""
    return submit(
        "jobs.queue_v2",
        "/jobs/queue/v2",
        refresh=refresh,
        skip_finished=skip_finished,
        all_users=all_users,
        job_ids=None if job_ids is None else list(job_ids),
    )


def cancel(
    name: Optional[str] = None,
    job_ids: Optional[Sequence[int]] = None,
    all: bool = False,  # noqa: A002
    all_users: bool = False,
    pool: Optional[str] = None,
) -> RequestId[None]:
    """Cancels managed jobs: of this name, with these numbers, of this pool, or ``all`` of the user."""
    ids = None if job_ids is None else list(job_ids)
    return submit("jobs.cancel", "/jobs/cancel", name=name, job_ids=ids, all=all, all_users=all_users, pool=pool)


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
    session = open_session()
    body = {
        **session.common("jobs.tail_logs"),
        "name": name,
        "job_id": job_id,
        "follow": follow,
        "controller": controller,
        "refresh": refresh,
        "tail": tail,
    }
    return _shown(stream.follow_post(session, "/jobs/logs", body), output_stream)


def wait(
    name: Optional[str] = None,
    job_id: Optional[int] = None,
    timeout: Optional[int] = None,
    poll_interval: int = 15,
) -> RequestId[int]:
    """Waits for a managed job, at most ``timeout`` seconds; the result is its exit code."""
    return submit("jobs.wait", "/jobs/wait", name=name, job_id=job_id, timeout=timeout, poll_interval=poll_interval)


def download_logs(
    name: Optional[str] = None,
    job_id: Optional[int] = None,
    refresh: bool = False,
    controller: bool = False,
) -> dict[str, str]:
    """Downloads the logs of a managed job; returns the directory of each."""
    session = open_session()
    body = {
        **session.common("jobs.download_logs"),
        "name": name,
        "job_id": job_id,
        "refresh": refresh,
        "controller": controller,
        "local_dir": "~/sky_logs",
    }
    directories = session.result(session.submit("/jobs/download_logs", body, "jobs.download_logs"))
    return download.fetch(session, session.common("jobs.download_logs"), directories)


def pool_apply(
    task: Union[Task, Dag, None],
    pool_name: str,
    mode: str = "rolling",
    workers: Optional[int] = None,
) -> RequestId[None]:
    """Makes a pool of workers, or changes it."""
    session = open_session()
    text, blob = None, None
    if task is not None:
        dag, blob = prepared(session, task)
        text = dag.to_text()
    body = {
        **session.common("jobs.pool_apply"),
        "file_mounts_blob_id": blob,
        "task": text,
        "workers": workers,
        "pool_name": pool_name,
        "mode": mode,
    }
    return session.submit("/jobs/pool_apply", body, "jobs.pool_apply")


def pool_down(
    pool_names: Union[str, Sequence[str], None],
    all: bool = False,  # noqa: A002
    purge: bool = False,
) -> RequestId[None]:
    """Tears pools down."""
    return submit("jobs.pool_down", "/jobs/pool_down", pool_names=_names(pool_names), all=all, purge=purge)


def pool_status(pool_names: Union[str, Sequence[str], None] = None) -> RequestId[list[dict[str, Any]]]:
    """Lists pools."""
    return submit("jobs.pool_status", "/jobs/pool_status", pool_names=_names(pool_names))


def pool_tail_logs(
    pool_name: str,
    target: str = "controller",
    worker_id: Optional[int] = None,
    follow: bool = True,
    output_stream: Optional[TextIO] = None,
    tail: Optional[int] = None,
) -> None:
    """Writes a log of a pool: of its ``controller`` or of a worker (``replica``)."""
    session = open_session()
    body = {
        **session.common("jobs.pool_tail_logs"),
        "pool_name": pool_name,
        "target": target,
        "worker_id": worker_id,
        "follow": follow,
        "tail": tail,
    }
    stream.show(stream.follow_post(session, "/jobs/pool_logs", body), output_stream)


def pool_sync_down_logs(
    pool_name: str,
    *,
    targets: Union[str, Sequence[str], None] = None,
    worker_ids: Optional[Sequence[int]] = None,
    tail: Optional[int] = None,
) -> str:
    """Downloads the logs of a pool; returns their directory."""
    session = open_session()
    body = {
        **session.common("jobs.pool_sync_down_logs"),
        "pool_name": pool_name,
        "local_dir": "~/sky_logs",
        "targets": _names(targets),
        "worker_ids": None if worker_ids is None else list(worker_ids),
        "tail": tail,
    }
    directory = session.result(session.submit("/jobs/pool_sync-down-logs", body, "jobs.pool_sync_down_logs"))
    return download.fetch(session, session.common("jobs.pool_sync_down_logs"), {"": directory})[""]


def _names(names: Union[str, Sequence[str], None]) -> Union[str, list[str], None]:
    return names if names is None or isinstance(names, str) else list(names)


def _shown(follower: stream.Follower, output: Optional[TextIO]) -> int:
    """Writes a log and returns the exit code of what wrote it."""
    stream.show(follower, output)
    word = (follower.outcome or {}).get("status")
    if word is None or word not in ManagedJobStatus.__members__:
        return int(JobExitCode.SUCCEEDED if follower.outcome is None else JobExitCode.NOT_FOUND)
    state = ManagedJobStatus(word)
    if not state.is_terminal():
        return int(JobExitCode.NOT_FINISHED)
    if state is ManagedJobStatus.CANCELLED:
        return int(JobExitCode.CANCELLED)
    return int(JobExitCode.FAILED if state.is_failed() else JobExitCode.SUCCEEDED)
