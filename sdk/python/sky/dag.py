"""Several tasks that belong together."""

from __future__ import annotations

import os
import threading
from typing import Any, Optional, Union

from . import task as task_module
from .exceptions import InvalidTaskError, InvalidTaskYAMLError
from .task import Task

_open = threading.local()


class Dag:
    """Tasks in the order in which they run.

    Tasks that are made inside of ``with sky.Dag() as dag:`` belong to it; ``a >> b`` says that ``b`` follows ``a``.
    """

    def __init__(self, name: Optional[str] = None) -> None:
        self.name = name
        self.tasks: list[Task] = []
        #: Other entries of the header: ``execution``, ``primary_tasks``, …
        self.header: dict[str, Any] = {}

    @classmethod
    def from_task(cls, task: Task) -> Dag:
        """Returns a dag of one task."""
        dag = cls(task.name)
        dag.tasks.append(task)
        return dag

    @classmethod
    def from_yaml(cls, path: Union[str, os.PathLike[str]]) -> Dag:
        """Reads a YAML file: a task, or a header and several of them."""
        return cls.from_yaml_str(task_module.read_text(path))

    @classmethod
    def from_yaml_str(cls, text: str) -> Dag:
        """Reads YAML text: a task, or a header and several of them."""
        documents = task_module.read_documents(text)
        dag = cls()
        if len(documents) > 1 and documents[0].keys() <= task_module.HEADER:
            dag.header = dict(documents.pop(0))
            dag.name = dag.header.pop("name", None)
        dag.tasks = [Task.from_yaml_config(document) for document in documents]
        if not dag.tasks:
            raise InvalidTaskYAMLError("there is no task in the text")
        if len(dag.tasks) == 1:
            dag.tasks[0].user_yaml = text
            dag.name = dag.name or dag.tasks[0].name
        return dag

    def add(self, task: Task) -> None:
        """Adds a task behind the others."""
        if task not in self.tasks:
            self.tasks.append(task)

    def add_edge(self, first: Task, second: Task) -> None:
        """Says that ``second`` runs after ``first``."""
        self.add(first)
        self.add(second)
        if self.tasks.index(second) < self.tasks.index(first):
            self.tasks.remove(second)
            self.tasks.insert(self.tasks.index(first) + 1, second)

    def remove(self, task: Task) -> None:
        """Removes a task."""
        self.tasks.remove(task)

    def to_text(self) -> str:
        """Returns the text of a request: a header and a document for each task."""
        if not self.tasks:
            raise InvalidTaskError("the dag has no task")
        documents: list[Any] = [{"name": self.name, **self.header}]
        documents += [task.to_wire() for task in self.tasks]
        return "\n---\n".join(task_module.to_json(document) for document in documents) + "\n"

    def __enter__(self) -> Dag:
        stack = _stack()
        stack.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        _stack().pop()

    def __len__(self) -> int:
        return len(self.tasks)

    def __repr__(self) -> str:
        return f"Dag(name={self.name!r}, tasks={self.tasks!r})"


def _stack() -> list[Dag]:
    stack: Optional[list[Dag]] = getattr(_open, "stack", None)
    if stack is None:
        stack = _open.stack = []
    return stack


def current() -> Optional[Dag]:
    """Returns the dag whose ``with`` block is open in this thread."""
    stack = _stack()
    return stack[-1] if stack else None


def of(entrypoint: Union[Task, Dag]) -> Dag:
    """Returns the dag that is meant by a task or a dag."""
    if isinstance(entrypoint, Dag):
        return entrypoint
    if isinstance(entrypoint, Task):
        return Dag.from_task(entrypoint)
    raise InvalidTaskError(f"a sky.Task or sky.Dag is expected here, not {type(entrypoint).__name__}")
