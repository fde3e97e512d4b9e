"""A program of a user: `mypy --strict` must find nothing in it, and know what each call results in."""

from __future__ import annotations

import asyncio
from typing import Optional

import sky
from sky.client import sdk_async
from sky.jobs.client import sdk_async as jobs
from sky.serve.client import sdk_async as serve


def train() -> Optional[int]:
    task = sky.Task(
        "train",
        run="python train.py",
        envs={"EPOCHS": "3"},
        resources=[sky.Resources(infra="aws", accelerators={"H100": 8}), sky.Resources(cloud=sky.Local())],
    )
    request: sky.RequestId[tuple[Optional[int], Optional[sky.ClusterHandle]]]
    request = sky.launch(task, cluster_name="c", idle_minutes_to_autostop=10, wait_for=sky.AutostopWaitFor.JOBS)
    job_id, handle = sky.stream_and_get(request)
    if handle is not None and handle.head_ip is not None:
        print(handle.head_ip.upper())
    code: int = sky.tail_logs("c", job_id)
    for piece in sky.tail_logs("c", job_id, preload_content=False):
        print(piece.strip())
    names: list[str] = [record.name for record in sky.get(sky.status()) if record.status is sky.ClusterStatus.UP]
    for job in sky.get(sky.queue(names[0])):
        finished: bool = job.status.is_terminal()
        print(job.job_id + 1, finished)
    try:
        sky.get(sky.down("c"))
    except sky.exceptions.ClusterDoesNotExist as error:
        print(error.code, error.hints)
    except sky.exceptions.ResourcesUnavailableError as error:
        print([past.message for past in error.failover_history])
    return code if job_id is None else job_id


async def watch() -> dict[Optional[int], Optional[sky.JobStatus]]:
    await sdk_async.launch(sky.Task(run="true"), "c", stream_logs=sdk_async.StreamConfig(tail=10))
    return await sdk_async.job_status("c", stream_logs=None)


async def manage(task: sky.Task) -> list[str]:
    job_ids, _ = await jobs.launch(task, name="nightly", stream_logs=None)
    for number in job_ids or []:
        code: int = await jobs.tail_logs(job_id=number)
        print(code, number + 1)
    name, endpoint = await serve.up(task, "web")
    print(name.upper(), endpoint.upper())
    ids, _ = sky.get(sky.jobs.launch(task))
    print(len(ids or []))
    return [job.job_name or "" for job in await jobs.queue(refresh=True) if job.status is sky.ManagedJobStatus.RUNNING]


if __name__ == "__main__":
    train()
    print(asyncio.run(watch()))
