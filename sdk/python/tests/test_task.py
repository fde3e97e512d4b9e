"""Tasks, resources and dags: how they travel. Needs no server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Home

import sky
from sky import exceptions


def wire(dag: sky.Dag) -> list[dict[str, Any]]:
    return [json.loads(document) for document in dag.to_text().split("\n---\n")]


def one(task: sky.Task) -> dict[str, Any]:
    return wire(sky.Dag.from_task(task))[1]


def test_a_task_travels_as_json_documents() -> None:
    task = sky.Task("t", run=["echo a", "echo b"], setup="true", envs={"A": "1"}, num_nodes=2)
    header, document = wire(sky.Dag.from_task(task))
    assert header == {"name": "t"}
    assert document == {
        "name": "t",
        "num_nodes": 2,
        "setup": "true",
        "run": "echo a\necho b",
        "envs": {"A": "1"},
    }


@pytest.mark.parametrize(
    ("resources", "config"),
    [
        (sky.Resources(cloud=sky.AWS()), {"infra": "aws"}),
        (sky.Resources(cloud=sky.AWS(), region="us-east-1", zone="us-east-1a"), {"infra": "aws/us-east-1/us-east-1a"}),
        (sky.Resources(infra="k8s/context"), {"infra": "k8s/context"}),
        (sky.Resources(zone="z"), {"infra": "*/*/z"}),
        (
            sky.Resources(cpus="4+", memory=8, accelerators="H100:8"),
            {"cpus": "4+", "memory": 8, "accelerators": "H100:8"},
        ),
        (sky.Resources(ports=(80, "90-99"), use_spot=False), {"use_spot": False, "ports": [80, "90-99"]}),
        ([sky.Resources(cpus=1), sky.Resources(cpus=2)], {"ordered": [{"cpus": 1}, {"cpus": 2}]}),
        ({sky.Resources(cpus=1)}, {"cpus": 1}),
        ({"cpus": 3}, {"cpus": 3}),
    ],
)
def test_resources(resources: Any, config: dict[str, Any]) -> None:
    assert one(sky.Task(run="true", resources=resources))["resources"] == config


def test_a_set_of_resources_is_any_of() -> None:
    task = sky.Task(resources={sky.Resources(cpus=1), sky.Resources(cpus=2)})
    assert sorted(wish["cpus"] for wish in one(task)["resources"]["any_of"]) == [1, 2]
    assert sorted(wish.cpus for wish in task.resources) == [1, 2]


def test_resources_are_read_and_changed() -> None:
    resources = sky.Resources(infra="aws/us-east-1", cpus=2)
    assert (resources.cloud, resources.region, resources.zone) == ("aws", "us-east-1", None)
    assert resources.copy(cpus=4, use_spot=True) == sky.Resources(infra="aws/us-east-1", cpus=4, use_spot=True)
    assert resources.copy(cloud=sky.GCP()).infra == "gcp"
    with pytest.raises(exceptions.InvalidTaskError, match="leave those out"):
        sky.Resources(infra="aws", region="us-east-1")
    with pytest.raises(AttributeError):
        _ = resources.nonsense


def test_paths_are_absolute_and_variables_replaced(home: Home) -> None:
    (home.path / "work").mkdir()
    (home.path / "data.txt").write_text("x")
    task = sky.Task(
        workdir="${DIR}",
        file_mounts={"/remote/$DIR": "~/data.txt", "/bucket": "s3://b/$DIR"},
        envs={"DIR": "work"},
    )
    document = one(task)
    assert document["workdir"] == str(home.path / "work")
    assert document["file_mounts"] == {
        "/remote/work": str(home.path / "data.txt"),
        "/bucket": "s3://b/work",
    }
    with pytest.raises(exceptions.InvalidTaskError, match="`nowhere` cannot be found"):
        sky.Task(workdir="nowhere").to_wire()


def test_from_yaml_keeps_everything(home: Home) -> None:
    text = (
        "name: y\nresources:\n  cpus: 2+\n  any_of:\n  - infra: aws\n  - infra: gcp\n"
        "service:\n  replicas: 2\nrun: |\n  echo hi\n"
    )
    path = home.path / "task.yaml"
    path.write_text(text)
    task = sky.Task.from_yaml(path)
    assert [wish.infra for wish in task.resources] == ["aws", "gcp"]
    task.update_envs({"N": "1"}).update_secrets({"S": "x"})
    document = one(task)
    assert document["service"] == {"replicas": 2}
    assert document["run"] == "echo hi\n"
    assert document["envs"] == {"N": "1"}
    assert document["secrets"] == {"S": "x"}
    assert document["_user_specified_yaml"] == text
    assert sky.Task.from_yaml_config(task.to_yaml_config()).to_yaml_config() == task.to_yaml_config()
    task.set_resources_override({"cpus": 4})
    assert [wish.cpus for wish in task.resources] == [4, 4]


def test_autostop_is_the_clusters_not_the_tasks() -> None:
    task = sky.Task(resources=[sky.Resources(cpus=1, autostop=5), sky.Resources(cpus=2)])
    stopping = task.with_autostop(10, True, "jobs")
    assert stopping.to_wire()["resources"] == {
        "ordered": [{"cpus": 1}, {"cpus": 2}],
        "autostop": {"idle_minutes": 10, "down": True, "wait_for": "jobs"},
    }
    assert "autostop" not in task.to_wire()["resources"]


def test_bad_texts_are_refused(home: Home) -> None:
    for text in ("- a\n", "a: [\n", "name: a\n---\nrun: b\n---\nrun: c\n"):
        with pytest.raises(exceptions.InvalidTaskYAMLError):
            sky.Task.from_yaml_str(text)
    with pytest.raises(exceptions.InvalidTaskYAMLError, match=r"nowhere.yaml` cannot be read"):
        sky.Task.from_yaml("nowhere.yaml")
    with pytest.raises(exceptions.InvalidTaskError, match="not the name of a variable"):
        sky.Task(envs={"A-B": "1"})
    with pytest.raises(exceptions.InvalidTaskError, match=r"a sky.Task or sky.Dag is expected"):
        sky.launch("echo hi")  # type: ignore[arg-type]


def test_dags() -> None:
    with sky.Dag("pipe") as dag:
        second = sky.Task("second", run="true")
        first = sky.Task("first", run="true")
        first >> second
    assert [task.name for task in dag.tasks] == ["first", "second"]
    assert wire(dag)[0] == {"name": "pipe"}
    read = sky.Dag.from_yaml_str("name: p\nexecution: serial\n---\nname: a\nrun: x\n---\nname: b\nrun: y\n")
    assert wire(read)[0] == {"name": "p", "execution": "serial"}
    assert [task.name for task in read.tasks] == ["a", "b"]
    outside = sky.Task(run="true")
    assert outside not in dag.tasks


def test_odd_characters_survive() -> None:
    from sky._yaml import documents

    text = "é ü 漢字 😀 \u2028 \x85 \x7f \\ \" ' # : \t\n - x"
    sent = sky.Dag.from_task(sky.Task(run=text)).to_text()
    assert documents(sent)[1]["run"] == text


def test_reading_paths_from_elsewhere(home: Home, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir(exist_ok=True)
    task = sky.Task.from_yaml_str("workdir: sub\nrun: ls\n")
    assert task.local_paths() == [str(tmp_path / "sub")]
