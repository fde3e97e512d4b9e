"""Managed jobs for asyncio: the names of ``sky.jobs``, awaited; ``stream_logs`` as in :mod:`sky.client.sdk_async`."""

from __future__ import annotations

from typing import Any, Optional, Sequence, TextIO

from ...client.sdk_async import DEFAULT_STREAM_CONFIG, StreamConfig, result_of
from ...client.threads import run
from ...client.verbs import Entrypoint, Names
from ...results import ManagedJobRecord, ManagedLaunchResult
from . import sdk


async def launch(
    task: Entrypoint,
    name: Optional[str] = None,
    pool: Optional[str] = None,
    num_jobs: Optional[int] = None,
    stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG,
) -> ManagedLaunchResult:
    """See :func:`sky.jobs.launch`."""
    return await result_of(lambda: sdk.launch(task, name, pool, num_jobs), stream_logs)


async def queue(
    refresh: bool = False,
    skip_finished: bool = False,
    all_users: bool = False,
    job_ids: Optional[Sequence[int]] = None,
    stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG,
) -> list[ManagedJobRecord]:
    """See :func:`sky.jobs.queue`."""
    return await result_of(lambda: sdk.queue(refresh, skip_finished, all_users, job_ids), stream_logs)


async def cancel(
    name: Optional[str] = None,
    job_ids: Optional[Sequence[int]] = None,
    all: bool = False,  # noqa: A002
    all_users: bool = False,
    pool: Optional[str] = None,
    stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG,
) -> None:
    """See :func:`sky.jobs.cancel`."""
    await result_of(lambda: sdk.cancel(name, job_ids, all, all_users, pool), stream_logs)


async def tail_logs(
    name: Optional[str] = None,
    job_id: Optional[int] = None,
    follow: bool = True,
    controller: bool = False,
    refresh: bool = False,
    tail: Optional[int] = None,
    output_stream: Optional[TextIO] = None,
) -> int:
    """See :func:`sky.jobs.tail_logs`."""
    return await run(lambda: sdk.tail_logs(name, job_id, follow, controller, refresh, tail, output_stream))


async def wait(
    name: Optional[str] = None,
    job_id: Optional[int] = None,
    timeout: Optional[int] = None,
    poll_interval: int = 15,
    stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG,
) -> int:
    """See :func:`sky.jobs.wait`."""
    return await result_of(lambda: sdk.wait(name, job_id, timeout, poll_interval), stream_logs)


async def download_logs(
    name: Optional[str] = None,
    job_id: Optional[int] = None,
    refresh: bool = False,
    controller: bool = False,
) -> dict[str, str]:
    """See :func:`sky.jobs.download_logs`."""
    return await run(lambda: sdk.download_logs(name, job_id, refresh, controller))


async def pool_apply(
    task: Optional[Entrypoint],
    pool_name: str,
    mode: str = "rolling",
    workers: Optional[int] = None,
    stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG,
) -> None:
    """See :func:`sky.jobs.pool_apply`."""
    await result_of(lambda: sdk.pool_apply(task, pool_name, mode, workers), stream_logs)


async def pool_down(
    pool_names: Names,
    all: bool = False,  # noqa: A002
    purge: bool = False,
    stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG,
) -> None:
    """See :func:`sky.jobs.pool_down`."""
    await result_of(lambda: sdk.pool_down(pool_names, all, purge), stream_logs)


async def pool_status(
    pool_names: Names = None, stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG
) -> list[dict[str, Any]]:
    """See :func:`sky.jobs.pool_status`."""
    return await result_of(lambda: sdk.pool_status(pool_names), stream_logs)


async def pool_tail_logs(
    pool_name: str,
    target: str = "controller",
    worker_id: Optional[int] = None,
    follow: bool = True,
    output_stream: Optional[TextIO] = None,
    tail: Optional[int] = None,
) -> None:
    """See :func:`sky.jobs.pool_tail_logs`."""
    await run(lambda: sdk.pool_tail_logs(pool_name, target, worker_id, follow, output_stream, tail))


async def pool_sync_down_logs(
    pool_name: str,
    *,
    targets: Names = None,
    worker_ids: Optional[Sequence[int]] = None,
    tail: Optional[int] = None,
) -> str:
    """See :func:`sky.jobs.pool_sync_down_logs`."""
    return await run(lambda: sdk.pool_sync_down_logs(pool_name, targets=targets, worker_ids=worker_ids, tail=tail))
