"""Files of a task on their way to a server on another machine: one zip, named by its content, sent in chunks.

A server on this machine reads absolute paths itself, so nothing is sent to it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO, Optional

from .. import exceptions
from ..dag import Dag
from . import config, ignore
from .session import Session

if TYPE_CHECKING:
    from .transport import Query

#: Bytes of a chunk, unless configured.
_CHUNK = 95_000_000
#: The variable that sets the bytes of a chunk, for connections that break often.
_CHUNK_VARIABLE = "SKY_UPLOAD_CHUNK_BYTES"
#: How often a chunk is sent on average before giving up.
_ROUNDS = 3
#: The time for a chunk, in seconds.
_TRANSFER = 180.0


def files(session: Session, dag: Dag) -> Optional[str]:
    """Sends the files that a dag names, unless the server is this machine's; returns the name of the upload."""
    if session.target.local:
        return None
    import tempfile

    paths: set[str] = set()
    for task in dag.tasks:
        named = task.local_paths()
        task.note_upload(named)
        paths.update(named)
    if not paths:
        return None
    directory = config.home(".sky", "uploads")
    os.makedirs(directory, mode=0o700, exist_ok=True)
    with tempfile.TemporaryFile(dir=directory) as archive:
        blob = pack(sorted(paths), archive)
        _send(session, archive, blob)
    return blob


def pack(paths: list[str], archive: BinaryIO) -> str:
    """Packs files and directories, each under its absolute path; returns the hash over names and contents."""
    import hashlib
    import zipfile

    entries = _entries(paths)
    blob = hashlib.sha256()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name in sorted(entries):
            source, kind = entries[name]
            blob.update(name.encode("utf-8", "surrogateescape"))
            blob.update(_add(file, name, source, kind))
    return blob.hexdigest()


def _add(archive: object, name: str, source: str, kind: str) -> bytes:
    """Adds an entry; returns the hash of its content."""
    import hashlib
    import zipfile

    assert isinstance(archive, zipfile.ZipFile)
    digest = hashlib.sha256()
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_DEFLATED
    if kind == "directory":
        info.external_attr = 0o40755 << 16 | 0x10
        archive.writestr(info, b"")
    elif kind == "link":
        info.external_attr = 0o120755 << 16
        content = _relative_target(source).encode("utf-8", "surrogateescape")
        digest.update(content)
        archive.writestr(info, content)
    else:
        with open(source, "rb") as file:
            info.external_attr = (0o100000 | os.fstat(file.fileno()).st_mode & 0o777) << 16
            with archive.open(info, "w", force_zip64=True) as out:
                while True:
                    piece = file.read(256 * 1024)
                    if not piece:
                        break
                    digest.update(piece)
                    out.write(piece)
    return digest.digest()


def _entries(paths: list[str]) -> dict[str, tuple[str, str]]:
    """Lists what goes into the archive by name: the absolute path without its first slash."""
    found: dict[str, tuple[str, str]] = {}
    for path in paths:
        if not os.path.exists(path):
            raise exceptions.InvalidTaskError(f"`{path}` cannot be read")
        # What the user named goes along, whatever ignore rules say; a link that was named is followed.
        if not os.path.isdir(path):
            found[path.strip("/")] = (path, "file")
            continue
        found[path.strip("/") + "/"] = (path, "directory")
        for entry in ignore.walk(path):
            slash = "/" if os.path.isdir(entry.path) else ""
            found[entry.path.strip("/") + slash] = (entry.path, entry.kind)
    return found


def _relative_target(link: str) -> str:
    """Returns where a link leads, seen from its directory."""
    target = os.readlink(link)
    return os.path.relpath(target, os.path.dirname(link)) if os.path.isabs(target) else target


def _send(session: Session, archive: BinaryIO, blob: str) -> None:
    """Sends an archive, unless the server has it."""
    size = archive.seek(0, os.SEEK_END)
    user = session.identity.id
    query: Query = {"user_hash": user, "blob_id": blob, "size_bytes": size}
    if session.fetch("GET", "/upload_v2/blob", query=query).get("exists"):
        return
    length = _chunk_length()
    total = max(1, -(-size // length))
    # Every answer says what is missing: what an earlier try has brought over is not sent again.
    missing = list(range(total))
    for _ in range(total * _ROUNDS):
        if not missing:
            break
        index = missing.pop(0)
        archive.seek(index * length)
        state = _send_chunk(session, blob, index, total, archive.read(length))
        if state.get("status") == "completed":
            return
        told = state.get("missing_chunks")
        if isinstance(told, list):
            numbers = [int(name[4:]) for name in told if str(name).startswith("part") and name[4:].isdigit()]
            missing = sorted(number for number in numbers if number < total)
    raise exceptions.ApiServerConnectionError("the server did not take in the upload")


def _send_chunk(session: Session, blob: str, index: int, total: int, data: bytes) -> dict[str, object]:
    query: Query = {
        "user_hash": session.identity.id,
        "upload_id": blob,
        "chunk_index": index,
        "total_chunks": total,
    }

    def once() -> dict[str, object]:
        headers = {"content-type": "application/octet-stream"}
        with session.call("POST", "/upload_v2", query=query, body=data, headers=headers, timeout=_TRANSFER) as answer:
            state = answer.json()
            return state if isinstance(state, dict) else {}

    return session.patiently(once)


def _chunk_length() -> int:
    text = os.environ.get(_CHUNK_VARIABLE)
    if not text:
        return _CHUNK
    if not text.isdigit() or not 1 <= int(text) <= _CHUNK:
        raise exceptions.InvalidSkyPilotConfigError(f"`{_CHUNK_VARIABLE}` is not a number of bytes from 1 to {_CHUNK}")
    return int(text)
