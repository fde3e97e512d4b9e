"""The SDK for asyncio: the same names, awaited. Calls that make a request return its result, not its id.

``stream_logs`` says what becomes of the log of the request meanwhile: a :class:`StreamConfig`, or ``None`` for
nothing. Each call runs in a thread of its own; cancelling the task that awaits it cuts the connection. What was
submitted goes on: :func:`api_cancel` ends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Optional, Sequence, TextIO, TypeVar, Union, overload

from .. import results
from ..results import LaunchResult
from ..states import AutostopWaitFor, JobStatus, StatusRefreshMode
from . import sdk
from .session import RequestId
from .threads import run
from .verbs import Entrypoint, Names

T = TypeVar("T")

_WaitFor = Union[AutostopWaitFor, str, None]


@dataclass
class StreamConfig:
    """What becomes of the log of a request: see :func:`sky.stream_and_get`."""

    log_path: Optional[str] = None
    #: Number of last lines to begin with.
    tail: Optional[int] = None
    follow: bool = True
    output_stream: Optional[TextIO] = None


DEFAULT_STREAM_CONFIG = StreamConfig()


async def result_of(submit: Callable[[], RequestId[T]], stream_logs: Optional[StreamConfig]) -> T:
    """Submits a request and returns its result."""
    request_id = await run(submit)
    if stream_logs is None:
        return await get(request_id)
    given = stream_logs
    return await run(
        lambda: sdk.stream_and_get(request_id, given.log_path, given.tail, given.follow, given.output_stream)
    )


@overload
async def get(request_id: RequestId[T]) -> T: ...


@overload
async def get(request_id: str) -> Any: ...


async def get(request_id: str) -> Any:
    """See :func:`sky.get`."""
    return await run(lambda: sdk.get(request_id))


@overload
async def stream_and_get(
    request_id: RequestId[T],
    log_path: Optional[str] = ...,
    tail: Optional[int] = ...,
    follow: bool = ...,
    output_stream: Optional[TextIO] = ...,
) -> T: ...


@overload
async def stream_and_get(
    request_id: Optional[str] = ...,
    log_path: Optional[str] = ...,
    tail: Optional[int] = ...,
    follow: bool = ...,
    output_stream: Optional[TextIO] = ...,
) -> Any: ...


async def stream_and_get(
    request_id: Optional[str] = None,
    log_path: Optional[str] = None,
    tail: Optional[int] = None,
    follow: bool = True,
    output_stream: Optional[TextIO] = None,
) -> Any:
    """See :func:`sky.stream_and_get`."""
    return await run(lambda: sdk.stream_and_get(request_id, log_path, tail, follow, output_stream))


async def validate(dag: Entrypoint) -> None:
    """See :func:`sky.validate`."""
    await run(lambda: sdk.validate(dag))


async def optimize(dag: Entrypoint, stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG) -> None:
    """See :func:`sky.optimize`."""
    await result_of(lambda: sdk.optimize(dag), stream_logs)


async def launch(
    task: Entrypoint,
    cluster_name: Optional[str] = None,
    retry_until_up: bool = False,
    idle_minutes_to_autostop: Optional[int] = None,
    wait_for: _WaitFor = None,
    dryrun: bool = False,
    down: bool = False,
    *,
    no_setup: bool = False,
    clone_disk_from: Optional[str] = None,
    fast: bool = False,
    resize: bool = False,
    stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG,
) -> LaunchResult:
    """See :func:`sky.launch`."""

    def submit() -> RequestId[LaunchResult]:
        return sdk.launch(
            task,
            cluster_name,
            retry_until_up,
            idle_minutes_to_autostop,
            wait_for,
            dryrun,
            down,
            no_setup=no_setup,
            clone_disk_from=clone_disk_from,
            fast=fast,
            resize=resize,
        )

    return await result_of(submit, stream_logs)


async def exec(  # noqa: A001
    task: Entrypoint,
    cluster_name: str,
    dryrun: bool = False,
    stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG,
) -> LaunchResult:
    """See :func:`sky.exec`."""
    return await result_of(lambda: sdk.exec(task, cluster_name, dryrun), stream_logs)


async def status(
    cluster_names: Names = None,
    refresh: Union[StatusRefreshMode, str] = StatusRefreshMode.NONE,
    all_users: bool = False,
    stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG,
) -> list[results.ClusterRecord]:
    """See :func:`sky.status`."""
    return await result_of(lambda: sdk.status(cluster_names, refresh, all_users), stream_logs)


async def start(
    cluster_name: str,
    idle_minutes_to_autostop: Optional[int] = None,
    wait_for: _WaitFor = None,
    retry_until_up: bool = False,
    down: bool = False,
    force: bool = False,
    stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG,
) -> Optional[results.ClusterHandle]:
    """See :func:`sky.start`."""
    return await result_of(
        lambda: sdk.start(cluster_name, idle_minutes_to_autostop, wait_for, retry_until_up, down, force),
        stream_logs,
    )


async def stop(
    cluster_name: str,
    purge: bool = False,
    graceful: bool = False,
    graceful_timeout: Optional[int] = None,
    stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG,
) -> None:
    """See :func:`sky.stop`."""
    await result_of(lambda: sdk.stop(cluster_name, purge, graceful, graceful_timeout), stream_logs)


async def down(
    cluster_name: str,
    purge: bool = False,
    graceful: bool = False,
    graceful_timeout: Optional[int] = None,
    stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG,
) -> None:
    """See :func:`sky.down`."""
    await result_of(lambda: sdk.down(cluster_name, purge, graceful, graceful_timeout), stream_logs)


async def autostop(
    cluster_name: str,
    idle_minutes: int,
    wait_for: _WaitFor = None,
    down: bool = False,
    stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG,
) -> None:
    """See :func:`sky.autostop`."""
    await result_of(lambda: sdk.autostop(cluster_name, idle_minutes, wait_for, down), stream_logs)


async def queue(
    cluster_name: str,
    skip_finished: bool = False,
    all_users: bool = False,
    stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG,
) -> list[results.JobRecord]:
    """See :func:`sky.queue`."""
    return await result_of(lambda: sdk.queue(cluster_name, skip_finished, all_users), stream_logs)


async def job_status(
    cluster_name: str,
    job_ids: Optional[Sequence[int]] = None,
    stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG,
) -> dict[Optional[int], Optional[JobStatus]]:
    """See :func:`sky.job_status`."""
    return await result_of(lambda: sdk.job_status(cluster_name, job_ids), stream_logs)


async def cancel(
    cluster_name: str,
    all: bool = False,  # noqa: A002
    all_users: bool = False,
    job_ids: Optional[Sequence[int]] = None,
    stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG,
) -> None:
    """See :func:`sky.cancel`."""
    await result_of(lambda: sdk.cancel(cluster_name, all, all_users, job_ids), stream_logs)


async def tail_logs(
    cluster_name: str,
    job_id: Optional[int] = None,
    follow: bool = True,
    tail: int = 0,
    output_stream: Optional[TextIO] = None,
) -> int:
    """See :func:`sky.tail_logs`."""
    return await run(lambda: sdk.tail_logs(cluster_name, job_id, follow, tail, output_stream))


async def tail_provision_logs(
    cluster_name: str,
    worker: Optional[int] = None,
    follow: bool = True,
    tail: int = 0,
    output_stream: Optional[TextIO] = None,
) -> int:
    """See :func:`sky.tail_provision_logs`."""
    return await run(lambda: sdk.tail_provision_logs(cluster_name, worker, follow, tail, output_stream))


async def download_logs(cluster_name: str, job_ids: Optional[Sequence[Union[int, str]]] = None) -> dict[str, str]:
    """See :func:`sky.download_logs`."""
    return await run(lambda: sdk.download_logs(cluster_name, job_ids))


async def check(
    infra_list: Optional[Sequence[str]] = None,
    verbose: bool = False,
    stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG,
) -> dict[str, dict[str, list[str]]]:
    """See :func:`sky.check`."""
    return await result_of(lambda: sdk.check(infra_list, verbose), stream_logs)


async def enabled_clouds(stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG) -> list[str]:
    """See :func:`sky.enabled_clouds`."""
    return await result_of(sdk.enabled_clouds, stream_logs)


async def list_accelerators(
    gpus_only: bool = True,
    name_filter: Optional[str] = None,
    region_filter: Optional[str] = None,
    quantity_filter: Optional[int] = None,
    clouds: Names = None,
    all_regions: bool = False,
    stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG,
) -> dict[str, list[results.InstanceTypeInfo]]:
    """See :func:`sky.list_accelerators`."""
    return await result_of(
        lambda: sdk.list_accelerators(gpus_only, name_filter, region_filter, quantity_filter, clouds, all_regions),
        stream_logs,
    )


async def list_accelerator_counts(
    gpus_only: bool = True,
    name_filter: Optional[str] = None,
    region_filter: Optional[str] = None,
    quantity_filter: Optional[int] = None,
    clouds: Names = None,
    stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG,
) -> dict[str, list[float]]:
    """See :func:`sky.list_accelerator_counts`."""
    return await result_of(
        lambda: sdk.list_accelerator_counts(gpus_only, name_filter, region_filter, quantity_filter, clouds),
        stream_logs,
    )


async def cost_report(
    days: Optional[int] = None, stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG
) -> list[results.CostRecord]:
    """See :func:`sky.cost_report`."""
    return await result_of(lambda: sdk.cost_report(days), stream_logs)


async def ssh_up(
    infra: Optional[str] = None, stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG
) -> list[dict[str, Any]]:
    """See :func:`sky.ssh_up`."""
    return await result_of(lambda: sdk.ssh_up(infra), stream_logs)


async def ssh_down(
    infra: Optional[str] = None, stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG
) -> list[dict[str, Any]]:
    """See :func:`sky.ssh_down`."""
    return await result_of(lambda: sdk.ssh_down(infra), stream_logs)


async def ssh_list(
    infra: Optional[str] = None, stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG
) -> list[dict[str, Any]]:
    """See :func:`sky.ssh_list`."""
    return await result_of(lambda: sdk.ssh_list(infra), stream_logs)


async def endpoints(
    cluster: str,
    port: Union[int, str, None] = None,
    stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG,
) -> dict[int, str]:
    """See :func:`sky.endpoints`."""
    return await result_of(lambda: sdk.endpoints(cluster, port), stream_logs)


async def api_status(
    request_ids: Names = None,
    all_status: bool = False,
    limit: Optional[int] = None,
    fields: Optional[Sequence[str]] = None,
    cluster_name: Optional[str] = None,
    *,
    all_users: bool = False,
) -> list[results.RequestRecord]:
    """See :func:`sky.api_status`."""
    return await run(lambda: sdk.api_status(request_ids, all_status, limit, fields, cluster_name, all_users=all_users))


async def api_cancel(
    request_ids: Names = None,
    all_users: bool = False,
    silent: bool = False,
    stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG,
) -> list[str]:
    """See :func:`sky.api_cancel`."""
    return await result_of(lambda: sdk.api_cancel(request_ids, all_users, silent), stream_logs)


async def api_info() -> results.ServerInfo:
    """See :func:`sky.api_info`."""
    return await run(sdk.api_info)


async def api_start(*, deploy: bool = False, host: str = "127.0.0.1", port: Optional[int] = None) -> None:
    """See :func:`sky.api_start`."""
    await run(lambda: sdk.api_start(deploy=deploy, host=host, port=port))


async def api_stop() -> None:
    """See :func:`sky.api_stop`."""
    await run(sdk.api_stop)


async def api_server_logs(follow: bool = True, tail: Optional[int] = None) -> None:
    """See :func:`sky.api_server_logs`."""
    await run(lambda: sdk.api_server_logs(follow, tail))


async def api_login(
    endpoint: Optional[str] = None,
    relogin: bool = False,
    service_account_token: Optional[str] = None,
    no_browser: bool = False,
) -> results.ServerInfo:
    """See :func:`sky.api_login`."""
    return await run(lambda: sdk.api_login(endpoint, relogin, service_account_token, no_browser))


async def api_logout() -> None:
    """See :func:`sky.api_logout`."""
    await run(sdk.api_logout)
