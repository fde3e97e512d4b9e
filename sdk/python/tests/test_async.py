"""The asyncio twin."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import io
import time
from typing import Any, Coroutine

import pytest
from conftest import Home

import sky
from sky import exceptions
from sky.client import sdk_async
from sky.jobs.client import sdk_async as jobs
from sky.serve.client import sdk_async as serve


def shape(call: Any, *without: str) -> list[tuple[str, Any, Any]]:
    """Returns the arguments of a call: their names, kinds and defaults."""
    return [(p.name, p.kind, p.default) for p in inspect.signature(call).parameters.values() if p.name not in without]


@pytest.mark.parametrize("package", ["sky.client", "sky.jobs.client", "sky.serve.client"])
def test_the_twin_has_the_same_names_and_arguments(package: str) -> None:
    once = importlib.import_module(f"{package}.sdk")
    twin = importlib.import_module(f"{package}.sdk_async")
    for name in once.__all__:
        ours, theirs = getattr(once, name), getattr(twin, name)
        assert inspect.iscoroutinefunction(theirs), name
        assert shape(theirs, "stream_logs") == shape(ours, "preload_content"), name
        submits = "RequestId" in str(inspect.signature(ours).return_annotation)
        has_stream = "stream_logs" in inspect.signature(theirs).parameters
        assert has_stream == submits, name


def test_a_whole_story(shared: Home) -> None:
    async def story() -> None:
        log, job_log = io.StringIO(), io.StringIO()
        to_log = sdk_async.StreamConfig(output_stream=log)
        job, handle = await sdk_async.launch(sky.Task(run="echo async"), "twin", stream_logs=to_log)
        assert job == 1 and handle is not None
        assert "Job submitted, ID: 1" in log.getvalue()
        assert await sdk_async.tail_logs("twin", job, output_stream=job_log) == 0
        assert "async" in job_log.getvalue()
        again, _ = await sdk_async.exec(sky.Task(run="exit 3"), "twin", stream_logs=None)
        assert again == 2
        records = await sdk_async.status(["twin"], stream_logs=None)
        assert records[0].status is sky.ClusterStatus.UP
        await sdk_async.tail_logs("twin", again, output_stream=job_log)
        jobs = await sdk_async.queue("twin", stream_logs=None)
        assert {one.job_id: one.status for one in jobs} == {1: sky.JobStatus.SUCCEEDED, 2: sky.JobStatus.FAILED}
        assert await sdk_async.job_status("twin", [2], stream_logs=None) == {2: sky.JobStatus.FAILED}
        assert (await sdk_async.check(["local"], stream_logs=None))["default"] == {"Local": ["compute"]}
        assert await sdk_async.enabled_clouds(stream_logs=None) == ["local"]
        assert "twin" in [one.name for one in await sdk_async.cost_report(stream_logs=None)]
        await sdk_async.autostop("twin", 9, stream_logs=None)
        await sdk_async.stop("twin", stream_logs=None)
        assert await sdk_async.start("twin", stream_logs=None) is not None
        assert list(await sdk_async.download_logs("twin", [1])) == ["1"]
        assert (await sdk_async.api_info()).status == "healthy"
        await sdk_async.down("twin", stream_logs=None)
        with pytest.raises(exceptions.ClusterDoesNotExist):
            await sdk_async.queue("twin", stream_logs=None)
        with pytest.raises(exceptions.InvalidTaskError):
            await sdk_async.validate(sky.Task(num_nodes=0))

    asyncio.run(story())


def test_many_calls_at_once(cluster: str) -> None:
    async def many() -> None:
        answers = await asyncio.gather(*(sdk_async.status(cluster, stream_logs=None) for _ in range(40)))
        assert all([record.name for record in answer] == [cluster] for answer in answers)

    asyncio.run(many())


def test_cancelling_the_task_ends_the_call_and_not_the_job(cluster: str) -> None:
    async def leave() -> None:
        job, _ = await sdk_async.exec(sky.Task(run="sleep 600"), cluster, stream_logs=None)
        following = asyncio.create_task(sdk_async.tail_logs(cluster, job, output_stream=io.StringIO()))
        await asyncio.sleep(0.3)
        following.cancel()
        begin = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await following
        assert time.monotonic() - begin < 1
        states = await sdk_async.job_status(cluster, [job], stream_logs=None)
        assert states == {job: sky.JobStatus.RUNNING}
        await sdk_async.cancel(cluster, job_ids=[job], stream_logs=None)

    asyncio.run(leave())
    import threading

    end = time.monotonic() + 5
    while any(thread.name == "sky-call" for thread in threading.enumerate()):
        assert time.monotonic() < end, "a thread stays behind"
        time.sleep(0.02)


def test_requests(shared: Home) -> None:
    async def requests() -> None:
        await sdk_async.launch(sky.Task(run="true"), cluster_name="slow3", stream_logs=None)
        with shared.held("slow3"):
            slow = sky.launch(sky.Task(run="true"), cluster_name="slow3")
            assert [one.request_id for one in await sdk_async.api_status(slow)] == [slow]
            assert await sdk_async.api_cancel(slow, stream_logs=None) == [slow]
        with pytest.raises(exceptions.RequestCancelled):
            await sdk_async.get(slow)
        await sdk_async.down("slow3", stream_logs=None)

    asyncio.run(requests())


def test_managed_jobs_and_services(shared: Home) -> None:
    task = sky.Task(run="true")
    calls: list[Coroutine[Any, Any, object]] = [
        jobs.launch(task, name="j"),
        jobs.cancel(job_ids=[1], stream_logs=None),
        jobs.tail_logs(job_id=1),
        jobs.download_logs(job_id=1),
        jobs.wait(job_id=1, stream_logs=None),
        jobs.pool_apply(task, "p"),
        jobs.pool_apply(None, "p", workers=2),
        jobs.pool_down("p"),
        jobs.pool_tail_logs("p"),
        jobs.pool_sync_down_logs("p"),
        serve.up(task, "s"),
        serve.update(task, "s"),
        serve.down("s"),
        serve.tail_logs("s"),
        serve.sync_down_logs("s"),
        serve.terminate_replica("s", 1),
    ]

    async def all_at_once() -> None:
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(outcome, exceptions.NotSupportedError), outcome
        assert await jobs.queue(stream_logs=None) == []
        assert await jobs.pool_status(stream_logs=None) == []
        assert await serve.status(stream_logs=None) == []

    asyncio.run(all_at_once())
