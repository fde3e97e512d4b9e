"""Logs of jobs as files on this machine, below ``~/sky_logs``."""

from __future__ import annotations

import os
from typing import Any, Optional

from .. import exceptions
from . import config
from .session import Session

#: The directory of logs, here and below each user's directory on the server.
_LOGS = "sky_logs"
#: The time for the first byte, in seconds.
_TRANSFER = 180.0


def fetch(session: Session, common: dict[str, Any], directories: dict[str, str]) -> dict[str, str]:
    """Downloads directories of the server; returns where each lies here."""
    import tempfile
    import zipfile

    def once() -> str:
        archive.seek(0)
        archive.truncate()
        body = {**common, "folder_paths": list(directories.values())}
        with session.call("POST", "/download", body=body, timeout=_TRANSFER) as answer:
            while True:
                piece = answer.read_some()
                if not piece:
                    break
                archive.write(piece)
            return answer.header("x-home-path") or ""

    with tempfile.TemporaryFile() as archive:
        server_home = session.patiently(once)
        try:
            with zipfile.ZipFile(archive) as file:
                _unpack(file, server_home)
        except zipfile.BadZipFile as error:
            raise exceptions.InternalServerError(f"the download is damaged: {error}") from error
    places = {job: _local_place(directory, server_home) for job, directory in directories.items()}
    return {job: config.home(place) if place else directories[job] for job, place in places.items()}


def _unpack(file: Any, server_home: str) -> None:
    """Writes the files of a download below the user's home."""
    for info in file.infolist():
        place = _local_place("/" + info.filename, server_home)
        if place is None:
            continue
        target = config.home(place)
        if info.is_dir():
            os.makedirs(target, mode=0o700, exist_ok=True)
            continue
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        with file.open(info) as source, open(target, "wb") as out:
            while True:
                piece = source.read(256 * 1024)
                if not piece:
                    break
                out.write(piece)


def _local_place(path: str, server_home: str) -> Optional[str]:
    """Returns the place below home of what lies at a path on the server: everything from ``sky_logs`` on.

    ``None`` for what lies elsewhere or tries to leave.
    """
    for home in (server_home, "~"):
        if home and path.startswith(home.rstrip("/") + "/"):
            path = path[len(home.rstrip("/")) :]
            break
    parts = [part for part in path.split("/") if part]
    if _LOGS not in parts:
        return None
    place = parts[parts.index(_LOGS) :]
    return None if ".." in place or "." in place else "/".join(place)
