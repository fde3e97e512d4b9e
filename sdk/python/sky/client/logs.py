"""Logs of jobs and of clusters: followed, or fetched as files. These calls wait; they return no request."""

from __future__ import annotations

from typing import Iterator, Literal, Optional, Sequence, TextIO, Union, overload

from .. import exceptions
from ..states import JobExitCode, JobStatus
from . import download, stream
from .session import open_session


@overload
def tail_logs(
    cluster_name: str,
    job_id: Optional[int] = ...,
    follow: bool = ...,
    tail: int = ...,
    output_stream: Optional[TextIO] = ...,
    *,
    preload_content: Literal[True] = ...,
) -> int: ...


@overload
def tail_logs(
    cluster_name: str,
    job_id: Optional[int] = ...,
    follow: bool = ...,
    tail: int = ...,
    output_stream: None = ...,
    *,
    preload_content: Literal[False],
) -> Iterator[str]: ...


def tail_logs(
    cluster_name: str,
    job_id: Optional[int] = None,
    follow: bool = True,
    tail: int = 0,
    output_stream: Optional[TextIO] = None,
    *,
    preload_content: bool = True,
) -> Union[int, Iterator[str]]:
    """Writes the log of a job, the latest one unless it is named, to ``output_stream`` (standard output).

    With ``follow`` until the job ends; ``tail`` is the number of last lines to begin with, 0 is everything. Returns
    the exit code of ``sky logs``: see :class:`sky.JobExitCode`. Without ``preload_content`` the text is returned in
    pieces as it arrives.
    """
    session = open_session()
    body = {
        **session.common("tail_logs"),
        "cluster_name": cluster_name,
        "job_id": job_id,
        "follow": follow,
        "tail": tail,
    }
    follower = stream.follow_post(session, "/logs", body)
    if not preload_content:
        return iter(follower)
    stream.show(follower, output_stream)
    outcome = follower.outcome
    if outcome is None:
        # SkyPilot's server: the stream is text, the status is another question.
        ids = None if job_id is None else [job_id]
        asked = {**session.common("job_status"), "cluster_name": cluster_name, "job_ids": ids}
        states = session.result(session.submit("/job_status", asked, "job_status"))
        state = next(iter(states.values()), None)
    else:
        word = outcome.get("status")
        state = None if word is None else JobStatus(word)
        if state is not None and state.is_terminal():
            mark = "✓" if state is JobStatus.SUCCEEDED else "⨯"
            stream.write(output_stream, f"{mark} Job finished (status: {state}).\n")
    if not follow and state is not None and not state.is_terminal():
        return int(JobExitCode.SUCCEEDED)
    return int(JobExitCode.from_job_status(state))


def tail_provision_logs(
    cluster_name: str,
    worker: Optional[int] = None,
    follow: bool = True,
    tail: int = 0,
    output_stream: Optional[TextIO] = None,
) -> int:
    """Writes the log of how a cluster was made; ``worker`` chooses the part of one node, from 1. Returns 0."""
    session = open_session()
    body = {**session.common("tail_provision_logs"), "cluster_name": cluster_name, "worker": worker}
    follower = stream.follow_post(session, "/provision_logs", body, follow=follow, tail=tail or None)
    stream.show(follower, output_stream)
    return 0


def download_logs(cluster_name: str, job_ids: Optional[Sequence[Union[int, str]]] = None) -> dict[str, str]:
    """Downloads the logs of jobs, the latest one unless they are named; returns the directory of each."""
    session = open_session()
    ids = None if job_ids is None else [str(job) for job in job_ids]
    body = {**session.common("download_logs"), "cluster_name": cluster_name, "job_ids": ids}
    directories = session.result(session.submit("/download_logs", body, "download_logs"))
    if not directories:
        raise exceptions.NotFoundError(f"cluster '{cluster_name}' has no such job", hints=[f"sky queue {cluster_name}"])
    return download.fetch(session, session.common("download_logs"), directories)
