"""Each call on the local cloud, against the real server."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from conftest import Home

import sky
from sky import exceptions


def run(cluster: str, command: str) -> int:
    job, handle = sky.get(sky.exec(sky.Task(run=command), cluster))
    assert job is not None and handle is not None and handle.cluster_name == cluster
    return job


def test_launch_follows_and_ends(shared: Home) -> None:
    log, job_log = io.StringIO(), io.StringIO()
    task = sky.Task("hello", run="echo hello SkyPilot", resources=sky.Resources(cloud=sky.Local()))
    request = sky.launch(task, cluster_name="hello")
    assert isinstance(request, sky.RequestId) and request.name == "launch"
    job, handle = sky.stream_and_get(request, output_stream=log)
    assert job == 1
    assert handle is not None and handle.head_ip == "127.0.0.1" and handle.launched_resources["infra"] == "local"
    assert "Job submitted, ID: 1" in log.getvalue()
    assert "<sky-payload" not in log.getvalue()
    assert sky.tail_logs("hello", job, follow=True, output_stream=job_log) == sky.JobExitCode.SUCCEEDED
    assert "hello SkyPilot\n" in job_log.getvalue()
    assert job_log.getvalue().endswith("✓ Job finished (status: SUCCEEDED).\n")
    assert sky.get(str(request)[:8]) == (job, handle)
    assert sky.get(sky.down("hello")) is None
    with pytest.raises(exceptions.ClusterDoesNotExist, match="`hello` does not exist") as error:
        sky.get(sky.queue("hello"))
    assert error.value.code == "cluster_not_found"
    assert error.value.hints == ["see what there is: sky status"]


def test_the_program_of_the_readme_on_a_cloud_that_is_not_enabled(shared: Home) -> None:
    task = sky.Task(run="echo hello SkyPilot", resources=sky.Resources(cloud=sky.AWS()))
    request_id = sky.launch(task, cluster_name="my-cluster")
    with pytest.raises((exceptions.ResourcesUnavailableError, exceptions.NoCloudAccessError)) as error:
        sky.stream_and_get(request_id, output_stream=io.StringIO())
    assert "sky check" in str(error.value)
    assert error.value.request_id == request_id


def test_status(cluster: str) -> None:
    (record,) = sky.get(sky.status([cluster]))
    assert record.name == record["name"] == cluster
    assert record.status is sky.ClusterStatus.UP
    assert record.status == "UP"
    assert record.nodes == 1 and record.autostop == -1 and record.cloud == "Local"
    assert record.handle is not None and record.handle.cluster_name == cluster
    assert "name" in record and record.get("nonsense") is None and "status" in dict(record.items())
    with pytest.raises(KeyError):
        record["nonsense"]
    assert sky.get(sky.status("no-such-*")) == []
    assert [one.name for one in sky.get(sky.status("shar*", refresh=sky.StatusRefreshMode.FORCE))] == [cluster]


def test_jobs(cluster: str) -> None:
    good, bad = run(cluster, "echo fine"), run(cluster, "echo bad; exit 7")
    out = io.StringIO()
    assert sky.tail_logs(cluster, good, output_stream=out) == 0
    assert sky.tail_logs(cluster, bad, output_stream=out) == sky.JobExitCode.FAILED
    assert "⨯ Job finished (status: FAILED)." in out.getvalue()
    assert sky.tail_logs(cluster, 9999, output_stream=out) == sky.JobExitCode.NOT_FOUND
    records = {record.job_id: record for record in sky.get(sky.queue(cluster))}
    assert records[good].status is sky.JobStatus.SUCCEEDED and records[good].status.is_terminal()
    assert records[bad].status is sky.JobStatus.FAILED and records[bad].exit_codes == [7]
    assert records[good].end_at is not None
    assert sky.get(sky.queue(cluster, skip_finished=True)) == []
    assert sky.get(sky.job_status(cluster, [good, bad, 9999])) == {
        good: sky.JobStatus.SUCCEEDED,
        bad: sky.JobStatus.FAILED,
        9999: None,
    }
    assert list(sky.get(sky.job_status(cluster))) == [bad]


def test_cancel(cluster: str) -> None:
    job = run(cluster, "echo begun; sleep 600")
    assert sky.tail_logs(cluster, job, follow=False, output_stream=io.StringIO()) == 0
    sky.get(sky.cancel(cluster, job_ids=[job]))
    assert sky.tail_logs(cluster, job, output_stream=io.StringIO()) == sky.JobExitCode.CANCELLED
    assert sky.get(sky.job_status(cluster, [job])) == {job: sky.JobStatus.CANCELLED}


def test_logs_in_pieces_and_from_the_end(cluster: str) -> None:
    job = run(cluster, "seq 1 100")
    pieces = sky.tail_logs(cluster, job, preload_content=False)
    text = "".join(pieces)
    assert [line.split()[-1] for line in text.splitlines() if line.startswith("(")] == [str(n) for n in range(1, 101)]
    out = io.StringIO()
    sky.tail_logs(cluster, job, tail=2, output_stream=out)
    assert [line.split()[-1] for line in out.getvalue().splitlines() if line.startswith("(")] == ["99", "100"]


def test_download_logs(cluster: str, shared: Home) -> None:
    job = run(cluster, "echo to be kept")
    sky.tail_logs(cluster, job, output_stream=io.StringIO())
    places = sky.download_logs(cluster, [job])
    assert list(places) == [str(job)]
    directory = Path(places[str(job)])
    assert directory.is_relative_to(shared.path / "sky_logs")
    assert "to be kept" in (directory / "run.log").read_text()
    with pytest.raises(exceptions.SkyError):
        sky.download_logs(cluster, [9999])


def test_files_of_this_machine(cluster: str, shared: Home) -> None:
    (shared.path / "work").mkdir(exist_ok=True)
    (shared.path / "work/a.txt").write_text("from the work directory\n")
    (shared.path / "b.txt").write_text("from a mount\n")
    task = sky.Task(run="cat a.txt ~/mounted.txt; echo $WORD $SECRET", workdir="work", envs={"WORD": "word"})
    task.update_file_mounts({"~/mounted.txt": "b.txt"}).update_secrets({"SECRET": "hush"})
    job, _ = sky.get(sky.launch(task, cluster_name=cluster))
    out = io.StringIO()
    assert sky.tail_logs(cluster, job, output_stream=out) == 0
    for line in ("from the work directory", "from a mount", "word hush"):
        assert line in out.getvalue()


def test_a_task_of_yaml(cluster: str) -> None:
    task = sky.Task.from_yaml_str('name: y\nenvs: {A: b}\nrun: |\n  echo "yaml $A"\n')
    job, _ = sky.get(sky.exec(task, cluster))
    out = io.StringIO()
    sky.tail_logs(cluster, job, output_stream=out)
    assert "yaml b" in out.getvalue()
    assert [record.job_name for record in sky.get(sky.queue(cluster)) if record.job_id == job] == ["y"]


def test_validate_and_optimize(shared: Home) -> None:
    good = sky.Task(run="true", resources=sky.Resources(cloud=sky.Local(), cpus="1+"))
    sky.validate(good)
    good.validate()
    out = io.StringIO()
    assert sky.stream_and_get(sky.optimize(good), output_stream=out) is None
    assert "Local" in out.getvalue()
    bad = sky.Task(run="true", resources=sky.Resources(infra="nowhere"))
    with pytest.raises(exceptions.InvalidTaskError, match="nowhere") as error:
        sky.launch(bad, cluster_name="x")
    assert isinstance(error.value, ValueError) and error.value.code == "invalid_task"
    with pytest.raises(exceptions.InvalidTaskError):
        sky.validate(sky.Task(run="true", num_nodes=0))


def test_dryrun_makes_nothing(shared: Home) -> None:
    out = io.StringIO()
    result = sky.stream_and_get(sky.launch(sky.Task(run="true"), "dry", dryrun=True), output_stream=out)
    assert result == (None, None)
    assert "Considered resources" in out.getvalue()
    assert sky.get(sky.status("dry")) == []


def test_autostop_stop_and_start(shared: Home) -> None:
    name = "sleepy"
    sky.get(sky.launch(sky.Task(), cluster_name=name, idle_minutes_to_autostop=30, down=True, wait_for="jobs"))
    (record,) = sky.get(sky.status(name))
    assert (record.autostop, record.to_down) == (30, True)
    sky.get(sky.autostop(name, -1))
    assert sky.get(sky.status(name))[0].autostop == -1
    sky.get(sky.autostop(name, 5, wait_for=sky.AutostopWaitFor.NONE))
    assert sky.get(sky.status(name))[0].autostop == 5
    sky.get(sky.stop(name))
    assert sky.get(sky.status(name))[0].status is sky.ClusterStatus.STOPPED
    with pytest.raises(exceptions.ClusterNotUpError) as error:
        sky.get(sky.exec(sky.Task(run="true"), name))
    assert error.value.cluster_status == "STOPPED"
    handle = sky.get(sky.start(name))
    assert handle is not None and handle.cluster_name == name
    assert sky.get(sky.status(name))[0].status is sky.ClusterStatus.UP
    out = io.StringIO()
    assert sky.tail_provision_logs(name, output_stream=out) == 0
    assert out.getvalue()
    sky.get(sky.down(name))
    assert sky.get(sky.status(name)) == []


def test_infra_and_accelerators(shared: Home) -> None:
    out = io.StringIO()
    assert sky.stream_and_get(sky.check(["local"]), output_stream=out) == {"default": {"Local": ["compute"]}}
    assert "Local: enabled" in out.getvalue()
    assert sky.get(sky.enabled_clouds()) == ["local"]
    assert isinstance(sky.get(sky.list_accelerators()), dict)
    assert isinstance(sky.get(sky.list_accelerator_counts(clouds=["local"])), dict)


def test_cost_report(cluster: str) -> None:
    records = {record.name: record for record in sky.get(sky.cost_report())}
    record = records[cluster]
    assert record.status is sky.ClusterStatus.UP and record.total_cost == 0 and record.num_nodes == 1
    assert record.usage_intervals[0][1] is None
    assert sky.get(sky.cost_report(days=7))


def test_requests_are_listed_and_cancelled(shared: Home) -> None:
    sky.get(sky.launch(sky.Task(run="true"), cluster_name="slow"))
    with shared.held("slow"):
        slow = sky.launch(sky.Task(run="true"), cluster_name="slow")
        (record,) = sky.api_status([slow[:8]])
        assert record.request_id == slow and record.name == "sky.launch" and record.cluster_name == "slow"
        assert slow in [one.request_id for one in sky.api_status(limit=50)]
        assert sky.get(sky.api_cancel(slow)) == [slow]
    with pytest.raises(exceptions.RequestCancelled) as error:
        sky.get(slow)
    assert error.value.request_id == slow
    (record,) = sky.api_status(slow)
    assert record.status.is_finished() and record.finished_at is not None
    assert sky.get(sky.api_cancel(slow)) == []
    assert slow in [one.request_id for one in sky.api_status(all_status=True, cluster_name="slow")]
    with pytest.raises(exceptions.NotFoundError):
        sky.get("00000000-0000-4000-8000-000000000000")
    sky.get(sky.down("slow"))


def test_all_requests_are_cancelled(shared: Home, capsys: pytest.CaptureFixture[str]) -> None:
    sky.get(sky.launch(sky.Task(run="true"), cluster_name="slow2"))
    with shared.held("slow2"):
        slow = sky.launch(sky.Task(run="true"), cluster_name="slow2")
        assert slow in sky.get(sky.api_cancel())
    assert "Cancelling all" in capsys.readouterr().out
    sky.get(sky.down("slow2"))


def test_what_the_server_does_not_have_says_so(shared: Home) -> None:
    task = sky.Task(run="true")
    for call in (
        lambda: sky.jobs.launch(task, name="j"),
        lambda: sky.jobs.cancel(job_ids=[1]),
        lambda: sky.jobs.tail_logs(job_id=1),
        lambda: sky.jobs.download_logs(job_id=1),
        lambda: sky.jobs.wait(job_id=1),
        lambda: sky.jobs.pool_apply(task, "p"),
        lambda: sky.jobs.pool_down("p"),
        lambda: sky.jobs.pool_tail_logs("p"),
        lambda: sky.jobs.pool_sync_down_logs("p"),
        lambda: sky.serve.up(task, "s"),
        lambda: sky.serve.update(task, "s"),
        lambda: sky.serve.down("s"),
        lambda: sky.serve.tail_logs("s"),
        lambda: sky.serve.download_logs("s"),
        lambda: sky.serve.terminate_replica("s", 1),
    ):
        with pytest.raises(exceptions.NotSupportedError, match="does not support") as error:
            call()
        assert error.value.code == "not_supported"
    assert sky.get(sky.jobs.queue()) == []
    assert sky.get(sky.jobs.pool_status()) == []
    assert sky.get(sky.serve.status()) == []


def test_logs_of_requests_and_of_the_server(cluster: str, capsys: pytest.CaptureFixture[str]) -> None:
    request = sky.optimize(sky.Task(run="true"))
    out = io.StringIO()
    assert sky.stream_and_get(request, output_stream=out) is None
    # The latest request is meant when none is named.
    again = io.StringIO()
    assert sky.stream_and_get(follow=False, output_stream=again) is None
    assert again.getvalue() == out.getvalue() != ""
    last = io.StringIO()
    sky.stream_and_get(request, tail=1, output_stream=last)
    assert last.getvalue() == out.getvalue().splitlines(keepends=True)[-1]
    sky.api_server_logs(follow=False, tail=5)
    assert "the server is ready" in capsys.readouterr().out
    with pytest.raises(exceptions.ClusterDoesNotExist):
        sky.tail_logs("nowhere")
    with pytest.raises(exceptions.NotFoundError):
        sky.stream_and_get("00000000-0000-4000-8000-000000000000", output_stream=out)
    assert sky.get(sky.endpoints(cluster)) == {}


def test_the_server_is_started_stopped_and_found_by_its_address(home: Home) -> None:
    assert not home.socket.exists()
    info = sky.api_info()
    assert info.status == "healthy" and info.sky_version and info.user is not None
    assert info.endpoint == f"http://127.0.0.1:{home.port}"
    sky.api_stop()
    assert home.run("api", "stop").stdout.strip() == "SkyPilot API server is not running."
    # The process remembers a server that is gone.
    assert sky.get(sky.status()) == []
    sky.api_start()
    import os

    os.environ["SKYPILOT_API_SERVER_ENDPOINT"] = f"http://127.0.0.1:{home.port}"
    assert sky.get(sky.status()) == []
    sky.api_stop()
    assert sky.get(sky.status()) == []


def test_a_home_with_a_long_path(tmp_path: Path) -> None:
    long = Home(tmp_path / ("long" * 20) / ("longer" * 10))
    long.path.mkdir(parents=True)
    long.enter()
    try:
        assert sky.get(sky.status()) == []
    finally:
        long.close()


def test_the_user_is_the_same_as_the_binarys(shared: Home) -> None:
    request = sky.status()
    assert request[:8] in shared.run("api", "status", "--all-status").stdout
