"""YAML text to plain values, as far as tasks and configuration files use YAML.

Block and flow collections, plain, quoted and block scalars, comments, anchors, aliases, merge keys (``<<``) and
several documents. Scalars mean what they mean in YAML 1.2: ``yes`` is a text. What is beyond this (tags, keys that
are collections) is refused with the line, never guessed. Writing needs no code: JSON is YAML.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Optional

from ._yaml_scalars import block_scalar, double_quoted, plain_value


class YAMLError(ValueError):
    """A text that cannot be read; the message names the line."""


#: ``key:`` at the beginning of a line, the key plain or quoted.
_KEY = re.compile(
    r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|(?:[^\s\[\]{},#&*!|>'"%@`?-]|[?-](?=[^\s]))(?:[^#]|(?<=\S)\#)*?)"""
    r"""\s*:(?=\s|$)"""
)
#: An anchor or alias.
_NAME = re.compile(r"[&*]([^\s,\[\]{}]+)\s*")
#: ``|`` or ``>`` with its indicators.
_BLOCK = re.compile(r"([|>])([-+]?)([1-9]?)([-+]?)\s*(?:#.*)?$")
#: The deepest nesting.
_DEPTH = 50


def documents(text: str) -> list[Any]:
    """Returns the documents of a text; those with nothing in them are left out."""
    found = []
    lines: list[str] = []
    start = 0
    text = text.lstrip("\ufeff")
    rows = text[:-1].split("\n") if text.endswith("\n") else text.split("\n")
    for number, line in enumerate([*rows, "---"]):
        line = line.rstrip("\r")
        if re.match(r"(---|\.\.\.)(\s|$)", line):
            value = _Reader(lines, start).document()
            if value is not None:
                found.append(value)
            rest = line[3:].strip()
            lines, start = ([" " * 4 + rest], number) if line.startswith("---") and rest else ([], number + 1)
        elif line.startswith("%") and not any(lines):
            start = number + 1
        else:
            lines.append(line)
    return found


class _Reader:
    """Reads one document by descending into it: each method takes the lines that belong to it."""

    def __init__(self, lines: list[str], start: int) -> None:
        self.lines = lines
        self.start = start
        self.at = 0
        self.depth = 0
        self.anchors: dict[str, Any] = {}

    def document(self) -> Any:
        self._skip()
        if self.at >= len(self.lines):
            return None
        value = self._block(0)
        self._skip()
        if self.at < len(self.lines):
            raise self._error("this does not belong to what stands before it")
        return value

    def _error(self, what: str, at: Optional[int] = None) -> YAMLError:
        return YAMLError(f"line {self.start + (self.at if at is None else at) + 1}: {what}")

    def _skip(self) -> None:
        """Goes on to the next line that holds something."""
        while self.at < len(self.lines) and self.lines[self.at].split("#", 1)[0].strip() == "":
            if self.lines[self.at].strip() and not self.lines[self.at].lstrip().startswith("#"):
                return
            self.at += 1

    def _indent(self) -> int:
        line = self.lines[self.at]
        rest = line.lstrip(" ")
        if rest.startswith("\t"):
            raise self._error("a tab does not indent")
        return len(line) - len(rest)

    def _block(self, least: int) -> Any:
        """Reads the node that begins on this line, indented by at least so much; nothing if there is none."""
        self._skip()
        if self.at >= len(self.lines) or self._indent() < least:
            return None
        self.depth += 1
        if self.depth > _DEPTH:
            raise self._error(f"nested deeper than {_DEPTH} levels")
        indent = self._indent()
        text = self.lines[self.at].strip()
        if text == "-" or text.startswith("- "):
            value: Any = self._list(indent)
        elif _KEY.match(text) or text.startswith("? "):
            value = self._map(indent)
        else:
            value = self._inline(text, least - 1, least)
        self.depth -= 1
        return value

    def _list(self, indent: int) -> list[Any]:
        items = []
        while self._more(indent):
            line = self.lines[self.at]
            text = line.strip()
            if not (text == "-" or text.startswith("- ")):
                break
            rest = line[indent + 1 :]
            if rest.split(" #")[0].strip() == "" or rest.strip().startswith("#"):
                self.at += 1
                items.append(self._block(indent + 1))
            else:
                # What follows the dash is a node of its own that begins in that column.
                self.lines[self.at] = " " * (indent + 1) + rest
                items.append(self._block(indent + 1))
        return items

    def _more(self, indent: int) -> bool:
        """Whether the next line that holds something stands in this column."""
        self._skip()
        if self.at >= len(self.lines):
            return False
        found = self._indent()
        if found > indent:
            raise self._error("this line is indented more than what it belongs to")
        return found == indent

    def _map(self, indent: int) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        merged: list[Any] = []
        while self._more(indent):
            text = self.lines[self.at].strip()
            match = _KEY.match(text)
            if match is None:
                if text.startswith("- ") or text == "-":
                    break
                if text.startswith("? "):
                    raise self._error("`? key` is not understood here; write `key: value`")
                raise self._error("`key: value` is expected here")
            key = self._key(match.group(1))
            line = self.at
            value = self._value(text[match.end() :].strip(), indent)
            if match.group(1) == "<<":
                merged.extend(value if isinstance(value, list) else [value])
            elif key in entries:
                raise self._error(f"duplicate key `{key}`", line)
            else:
                entries[key] = value
        for source in merged:
            if not isinstance(source, dict):
                raise self._error("`<<` merges mappings only")
            for key, value in source.items():
                entries.setdefault(key, value)
        return entries

    def _key(self, text: str) -> str:
        if text[0] == '"':
            return double_quoted(text[1:-1], self._error)
        return text[1:-1].replace("''", "'") if text[0] == "'" else text

    def _value(self, text: str, indent: int) -> Any:
        """Reads what stands behind ``key:``, on this line or below."""
        if text == "" or text.startswith("#"):
            self.at += 1
            return self._below(indent)
        return self._inline(text, indent, indent + 1)

    def _below(self, indent: int) -> Any:
        """Reads a node on the following lines; a list may stand in the column of its key."""
        self._skip()
        if self.at < len(self.lines) and self._indent() == indent:
            text = self.lines[self.at].strip()
            return self._list(indent) if text == "-" or text.startswith("- ") else None
        return self._block(indent + 1)

    def _inline(self, text: str, indent: int, least: int) -> Any:
        """Reads a node that begins with ``text``, the rest of the current line."""
        if text[0] == "&":
            name = _NAME.match(text)
            if name is None:
                raise self._error("an anchor without a name")
            rest = text[name.end() :]
            if rest == "" or rest.startswith("#"):
                self.at += 1
                value = self._below(indent)
            else:
                value = self._inline(rest, indent, least)
            self.anchors[name.group(1)] = value
            return value
        if text[0] == "!":
            raise self._error(f"the tag `{text.split()[0]}` is not understood here")
        block = _BLOCK.match(text)
        if block:
            self.at += 1
            style, before, width, after = block.groups()
            return self._block_scalar(style, before or after, int(width or 0), indent)
        if text[0] in "[{\"'*":
            return self._flow(text, least)
        if text[0] in "|>%@`":
            raise self._error(f"a value cannot begin with `{text[0]}`; put it in quotes")
        return self._plain(text, least)

    def _block_scalar(self, style: str, chomp: str, width: int, indent: int) -> str:
        taken = []
        least = max(indent, 0) + 1 if indent >= 0 else 0
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.strip() and len(line) - len(line.lstrip(" ")) < least:
                break
            taken.append(line)
            self.at += 1
        return block_scalar(taken, style, chomp, (max(indent, 0) + width) if width else 0)

    def _plain(self, text: str, least: int) -> Any:
        """Reads a plain scalar, which may go on below."""
        words = [_uncommented(text)]
        commented = words[0] != text
        self.at += 1
        while not commented and self.at < len(self.lines):
            line = self.lines[self.at]
            stripped = line.strip()
            if stripped == "":
                following = [later for later in self.lines[self.at :] if later.strip()]
                if not following or len(following[0]) - len(following[0].lstrip(" ")) < least:
                    break
                words.append("\n")
            elif len(line) - len(line.lstrip(" ")) < least or stripped.startswith("#"):
                break
            else:
                if _KEY.match(stripped):
                    raise self._error("a mapping cannot begin inside of a value")
                words.append(_uncommented(stripped))
                commented = words[-1] != stripped
            self.at += 1
        if len(words) == 1:
            if words[0] == "-" or words[0].startswith("- "):
                raise self._error("a list begins on a line of its own", self.at - 1)
            if re.search(r":(\s|$)", words[0]):
                raise self._error("a mapping cannot begin inside of a value; put it in quotes", self.at - 1)
            return plain_value(words[0])
        return re.sub(r" ?\n ?", "\n", " ".join(words)).strip()

    def _flow(self, text: str, least: int) -> Any:
        """Reads a flow node: the lines that belong to it are taken together."""
        first = self.at
        while True:
            flow = _Flow(text, self.anchors, lambda what: self._error(what, first))
            try:
                value = flow.node()
                break
            except EOFError:
                self.at += 1
                if self.at >= len(self.lines):
                    raise self._error("a bracket or quote is not closed", first) from None
                line = self.lines[self.at]
                if line.strip() and len(line) - len(line.lstrip(" ")) < least and line.strip()[0] not in "]}":
                    raise self._error("a bracket or quote is not closed", first) from None
                text += "\n" + line.strip()
        rest = text[flow.at :].strip()
        if rest and not rest.startswith("#"):
            raise self._error(f"`{rest}` behind the end of a value")
        self.at += 1
        return value


def _uncommented(text: str) -> str:
    """Returns a text without the comment behind it."""
    match = re.search(r"\s#", text)
    return (text[: match.start()] if match else text).rstrip()


class _Flow:
    """Reads ``[…]``, ``{…}``, quoted text and aliases; ``EOFError`` asks for another line."""

    def __init__(self, text: str, anchors: dict[str, Any], error: Callable[[str], YAMLError]) -> None:
        self.text = text
        self.anchors = anchors
        self.error = error
        self.at = 0

    def node(self, depth: int = 0) -> Any:
        self._space()
        c = self._peek()
        if depth > _DEPTH:
            raise self.error(f"nested deeper than {_DEPTH} levels")
        if c == "[":
            return self._sequence(depth)
        if c == "{":
            return self._mapping(depth)
        if c == "*":
            name = _NAME.match(self.text, self.at)
            if name is None or name.group(1) not in self.anchors:
                raise self.error("an alias of something that does not exist")
            self.at = name.end()
            return self.anchors[name.group(1)]
        if c in "\"'":
            return self._quoted(c)
        if c in "!&":
            raise self.error("tags and anchors are not understood inside of brackets")
        return plain_value(self._word())

    def _peek(self) -> str:
        if self.at >= len(self.text):
            raise EOFError
        return self.text[self.at]

    def _space(self) -> None:
        while self._peek().isspace() or (self._peek() == "#" and self.text[self.at - 1].isspace()):
            if self._peek() == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            else:
                self.at += 1

    def _word(self) -> str:
        match = re.compile(r"(?:[^,\[\]{}:#]|:(?![\s,\[\]{}]|$)|(?<!\s)#)+").match(self.text, self.at)
        if match is None:
            return ""
        self.at = match.end()
        return _fold(match.group().strip())

    def _quoted(self, quote: str) -> str:
        pattern = r'"((?:[^"\\]|\\.)*)"' if quote == '"' else r"'((?:[^']|'')*)'"
        match = re.compile(pattern, re.DOTALL).match(self.text, self.at)
        if match is None or (quote == "'" and self.text[match.end() : match.end() + 1] == "'"):
            raise EOFError
        self.at = match.end()
        if quote == '"':
            return double_quoted(match.group(1), self.error)
        return _fold(match.group(1)).replace("''", "'")

    def _sequence(self, depth: int) -> list[Any]:
        self.at += 1
        items: list[Any] = []
        while True:
            self._space()
            if self._peek() == "]":
                self.at += 1
                return items
            item = self.node(depth + 1)
            self._space()
            if self._peek() == ":":
                self.at += 1
                item = {_text(item): self._entry(depth)}
                self._space()
            items.append(item)
            self._comma("]")

    def _mapping(self, depth: int) -> dict[str, Any]:
        self.at += 1
        entries: dict[str, Any] = {}
        while True:
            self._space()
            if self._peek() == "}":
                self.at += 1
                return entries
            c = self._peek()
            key = self._quoted(c) if c in "\"'" else self._word()
            self._space()
            value = None
            if self._peek() == ":":
                self.at += 1
                value = self._entry(depth)
            if key in entries:
                raise self.error(f"duplicate key `{key}`")
            entries[key] = value
            self._space()
            self._comma("}")

    def _entry(self, depth: int) -> Any:
        self._space()
        return None if self._peek() in ",}]" else self.node(depth + 1)

    def _comma(self, end: str) -> None:
        if self._peek() == ",":
            self.at += 1
        elif self._peek() != end:
            raise self.error(f"`,` or `{end}` is expected before `{self.text[self.at : self.at + 20]}`")


def _text(key: Any) -> str:
    return key if isinstance(key, str) else str(key)


def _fold(text: str) -> str:
    return re.sub(r"[ \t]*\n([ \t]*\n)*[ \t]*", lambda m: "\n" * (m.group().count("\n") - 1) or " ", text)
