"""Services for asyncio: the names of ``sky.serve``, awaited; ``stream_logs`` as in :mod:`sky.client.sdk_async`."""

from __future__ import annotations

from typing import Any, Optional, Sequence, TextIO

from ...client.sdk_async import DEFAULT_STREAM_CONFIG, StreamConfig, result_of
from ...client.threads import run
from ...client.verbs import Entrypoint, Names
from . import sdk


async def up(
    task: Entrypoint, service_name: str, stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG
) -> tuple[str, str]:
    """See :func:`sky.serve.up`."""
    return await result_of(lambda: sdk.up(task, service_name), stream_logs)


async def update(
    task: Entrypoint,
    service_name: str,
    mode: str = "rolling",
    stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG,
) -> None:
    """See :func:`sky.serve.update`."""
    await result_of(lambda: sdk.update(task, service_name, mode), stream_logs)


async def down(
    service_names: Names,
    all: bool = False,  # noqa: A002
    purge: bool = False,
    stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG,
) -> None:
    """See :func:`sky.serve.down`."""
    await result_of(lambda: sdk.down(service_names, all, purge), stream_logs)


async def terminate_replica(
    service_name: str,
    replica_id: int,
    purge: bool = False,
    stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG,
) -> None:
    """See :func:`sky.serve.terminate_replica`."""
    await result_of(lambda: sdk.terminate_replica(service_name, replica_id, purge), stream_logs)


async def status(
    service_names: Names = None, stream_logs: Optional[StreamConfig] = DEFAULT_STREAM_CONFIG
) -> list[dict[str, Any]]:
    """See :func:`sky.serve.status`."""
    return await result_of(lambda: sdk.status(service_names), stream_logs)


async def tail_logs(
    service_name: str,
    target: str = "controller",
    replica_id: Optional[int] = None,
    follow: bool = True,
    output_stream: Optional[TextIO] = None,
    tail: Optional[int] = None,
) -> None:
    """See :func:`sky.serve.tail_logs`."""
    await run(lambda: sdk.tail_logs(service_name, target, replica_id, follow, output_stream, tail))


async def download_logs(
    service_name: str,
    *,
    targets: Names = None,
    replica_ids: Optional[Sequence[int]] = None,
    tail: Optional[int] = None,
) -> str:
    """See :func:`sky.serve.download_logs`."""
    return await run(lambda: sdk.download_logs(service_name, targets=targets, replica_ids=replica_ids, tail=tail))


#: The name by which SkyPilot has it.
sync_down_logs = download_logs
