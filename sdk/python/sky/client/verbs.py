"""What calls have in common: a verb with its fields becomes a request, a log that is followed, or files."""

from __future__ import annotations

import copy
from typing import Any, Optional, Sequence, TextIO, TypeVar, Union

from .. import dag as dags
from ..dag import Dag
from ..task import Task
from . import download, stream, upload
from .session import RequestId, Session, open_session

T = TypeVar("T")

#: What can be run.
Entrypoint = Union[Task, Dag]
#: One name, several, or none.
Names = Union[str, Sequence[str], None]


def names(given: Names) -> Union[str, list[str], None]:
    """Returns names as they travel."""
    return given if given is None or isinstance(given, str) else list(given)


def items(given: Optional[Sequence[T]]) -> Optional[list[T]]:
    """Returns a sequence as it travels."""
    return None if given is None else list(given)


def submit(name: str, path: str, /, **fields: Any) -> RequestId[Any]:
    """Submits the verb ``name`` with these fields in its body."""
    session = open_session()
    return session.submit(path, {**session.common(name), **fields}, name)


def submit_task(name: str, path: str, entrypoint: Entrypoint, /, **fields: Any) -> RequestId[Any]:
    """Submits a verb that runs something: checks it and uploads its files first."""
    session = open_session()
    dag, blob = _prepared(session, dags.of(entrypoint))
    body = {**session.common(name), "file_mounts_blob_id": blob, "task": dag.to_text(), **fields}
    return session.submit(path, body, name)


def follow(name: str, path: str, output: Optional[TextIO], /, **fields: Any) -> stream.Follower:
    """Writes the log that answers a verb, to its end; what is returned says how it ended."""
    session = open_session()
    follower = stream.follow_post(session, path, {**session.common(name), **fields})
    stream.show(follower, output)
    return follower


def fetch(name: str, path: str, /, **fields: Any) -> Any:
    """Downloads the directories that a verb results in, one or several by their names; returns where they are here."""
    session = open_session()
    made = session.result(session.submit(path, {**session.common(name), **fields}, name))
    several = isinstance(made, dict)
    places = download.fetch(session, session.common(name), made if several else {"": made})
    return places if several else places[""]


def validate(session: Session, dag: Dag) -> None:
    """Lets the server check a dag."""
    body = {**session.common("validate"), "dag": dag.to_text(), "request_options": None}
    session.fetch("POST", "/validate", body=body)


def _prepared(session: Session, given: Dag) -> tuple[Dag, Optional[str]]:
    """Checks what is to run and uploads its files; returns it as it travels, and the name of the upload."""
    dag = copy.copy(given)
    # What is noted for the journey is not written into the user's tasks.
    dag.tasks = [copy.copy(task) for task in given.tasks]
    validate(session, dag)
    return dag, upload.files(session, dag)
