"""Scalars of YAML: what a plain word means, escapes of double quotes, and block scalars."""

from __future__ import annotations

import re
from typing import Any, Callable

_INTEGER = re.compile(r"[-+]?[0-9]+$")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_ESCAPES = {
    "0": "\0",
    "a": "\a",
    "b": "\b",
    "t": "\t",
    "\t": "\t",
    "n": "\n",
    "v": "\v",
    "f": "\f",
    "r": "\r",
    "e": "\x1b",
    " ": " ",
    '"': '"',
    "/": "/",
    "\\": "\\",
    "N": "\x85",
    "_": "\xa0",
    "L": "\u2028",
    "P": "\u2029",
}
_ESCAPE = re.compile(
    r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|\n[ \t]*|.)|[ \t]*\n(?:[ \t]*\n)*[ \t]*",
    re.DOTALL,
)


def plain_value(text: str) -> Any:
    """Returns what an unquoted text means in YAML 1.2."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE"):
        return True
    if text in ("false", "False", "FALSE"):
        return False
    if _INTEGER.match(text):
        return int(text)
    if re.match(r"0x[0-9A-Fa-f]+$", text):
        return int(text, 16)
    if re.match(r"0o[0-7]+$", text):
        return int(text[2:], 8)
    if _FLOAT.match(text):
        return float(text)
    return text


def double_quoted(text: str, error: Callable[[str], Exception]) -> str:
    """Returns the text between double quotes with its escapes and line breaks resolved."""

    def piece(match: re.Match[str]) -> str:
        code = match.group(1)
        if code is None:
            return "\n" * (match.group().count("\n") - 1) or " "
        if code[0] in "xuU" and len(code) > 1:
            return chr(int(code[1:], 16))
        if code[0] == "\n":
            return ""
        if code not in _ESCAPES:
            raise error(f"the escape `\\{code}` does not exist")
        return _ESCAPES[code]

    joined = _ESCAPE.sub(piece, text)
    # JSON writes what is beyond 16 bits as two escapes.
    return joined.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def block_scalar(lines: list[str], style: str, chomp: str, indent: int) -> str:
    """Returns the text of a block scalar: ``style`` is ``|`` or ``>``, ``chomp`` ``-``, ``+`` or nothing."""
    if not indent:
        indent = next((len(line) - len(line.lstrip(" ")) for line in lines if line.strip()), 0)
    rows = [line[indent:] if line.strip() or len(line) > indent else "" for line in lines]
    end = len(rows)
    while end and not rows[end - 1].strip():
        end -= 1
    body, trailing = rows[:end], len(rows) - end
    text = "\n".join(body) if style == "|" else _folded(body)
    if chomp == "-" or (not body and chomp != "+"):
        return text
    return text + "\n" * (1 + trailing if body and chomp == "+" else trailing if chomp == "+" else 1)


def _folded(rows: list[str]) -> str:
    """Joins lines by spaces; empty lines and indented ones keep their breaks."""
    text = ""
    for i, row in enumerate(rows):
        text += row
        if i + 1 == len(rows):
            break
        following = rows[i + 1]
        if row == "":
            # An empty line is a break; the one before a text that follows is already there.
            text += "\n"
        elif row[0] in " \t" or following[:1] in (" ", "\t"):
            text += "\n"
        elif following == "":
            # The first break of several is swallowed, unless what follows them is indented.
            later = next((r for r in rows[i + 1 :] if r), "")
            text += "\n" if later[:1] in (" ", "\t") else ""
        else:
            text += " "
    return text
