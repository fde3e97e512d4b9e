"""What of a directory is copied: ``.skyignore`` at its root decides, else the ``.gitignore`` files of the tree."""

from __future__ import annotations

import os
import re
from typing import Iterator, NamedTuple, Optional


class Entry(NamedTuple):
    """Something in a tree."""

    #: Where it is.
    path: str
    #: ``file``, ``directory`` or ``link``.
    kind: str


class _Rule(NamedTuple):
    """A line of an ignore file."""

    pattern: re.Pattern[str]
    keeps: bool
    directories_only: bool


def walk(root: str) -> Iterator[Entry]:
    """Lists a tree in a stable order, without its root. Links are not followed; sockets and devices are left out."""
    own = os.path.join(root, ".skyignore")
    if os.path.isfile(own):
        yield from _walk(root, [("", _rules(own))], nested=False)
    else:
        exclude = os.path.join(root, ".git", "info", "exclude")
        yield from _walk(root, [("", _rules(exclude))], nested=True)


def _walk(root: str, stack: list[tuple[str, list[_Rule]]], nested: bool, below: str = "") -> Iterator[Entry]:
    directory = os.path.join(root, below) if below else root
    if nested:
        stack = [*stack, (below, _rules(os.path.join(directory, ".gitignore")))]
    with os.scandir(directory) as scan:
        entries = sorted(scan, key=lambda entry: entry.name)
    for entry in entries:
        relative = f"{below}/{entry.name}" if below else entry.name
        is_directory = entry.is_dir(follow_symlinks=False)
        if _is_ignored(relative, is_directory, stack):
            continue
        if entry.is_symlink():
            yield Entry(entry.path, "link")
        elif is_directory:
            yield Entry(entry.path, "directory")
            yield from _walk(root, stack, nested, relative)
        elif entry.is_file(follow_symlinks=False):
            yield Entry(entry.path, "file")


def _is_ignored(relative: str, is_directory: bool, stack: list[tuple[str, list[_Rule]]]) -> bool:
    """Decides by the last rule that matches, the innermost file first."""
    for base, rules in reversed(stack):
        inner = relative[len(base) + 1 :] if base else relative
        for rule in reversed(rules):
            if (is_directory or not rule.directories_only) and rule.pattern.match(inner):
                return not rule.keeps
    return False


def _rules(path: str) -> list[_Rule]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return []
    return [rule for rule in map(_rule, lines) if rule is not None]


def _rule(line: str) -> Optional[_Rule]:
    line = re.sub(r"(?<!\\) +$", "", line.rstrip("\r\n"))
    if not line or line.startswith("#"):
        return None
    keeps = line.startswith("!")
    line = line[1:] if keeps or line.startswith(("\\#", "\\!")) else line
    directories_only = line.endswith("/")
    line = line.rstrip("/")
    if not line:
        return None
    anchored = "/" in line
    return _Rule(re.compile(_pattern(line.lstrip("/"), anchored)), keeps, directories_only)


def _pattern(glob: str, anchored: bool) -> str:
    """Returns the regular expression of a pattern of ``.gitignore``."""
    out = "" if anchored else "(?:.*/)?"
    at = 0
    while at < len(glob):
        rest = glob[at:]
        if rest.startswith("**/") and (at == 0 or glob[at - 1] == "/"):
            out += "(?:.*/)?"
            at += 3
        elif rest == "**" and at and glob[at - 1] == "/":
            out += ".+"
            at += 2
        elif rest[0] == "*":
            out += "[^/]*"
            at += len(rest) - len(rest.lstrip("*"))
        elif rest[0] == "?":
            out += "[^/]"
            at += 1
        elif rest[0] == "[" and "]" in rest[2:]:
            end = rest.index("]", 2)
            inner = rest[1:end].replace("\\", "\\\\")
            out += "[" + ("^" + inner[1:] if inner[0] in "!^" else inner) + "]"
            at += end + 1
        elif rest[0] == "\\" and len(rest) > 1:
            out += re.escape(rest[1])
            at += 2
        else:
            out += re.escape(rest[0])
            at += 1
    return out + r"\Z"
