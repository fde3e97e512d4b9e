"""Our reader of YAML against PyYAML, where both read the same version of YAML, and its refusals."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from conftest import REPOSITORY

from sky._yaml import YAMLError, documents

TEXTS = [
    "name: demo\nrun: echo hello\n",
    "run: |\n  set -e\n  echo a\n\n  echo b\n",
    "run: |-\n  echo a\n",
    "run: |+\n  echo a\n\n",
    "run: >\n  a long\n  line\n\n  and another\n   indented\n  end\n",
    "run: >-\n  a\n  b\n",
    "run: |2\n    two more\n  end\nname: x\n",
    "run: |  # a comment\n  a # not a comment\n",
    "a:\n- 1\n- 2\nb:\n  - x: 1\n    y: 2\n  - z: 3\n",
    "- - 1\n  - 2\n- - 3\n",
    "a: [1, 2.5, 'x, y', \"q\\n\", {k: v}, []]\n",
    "a: {b: {c: 1}, d: [x, y]}\n",
    'a: {"b": 1, "c":2}\n',
    "a: [\n  1,\n  2,  # two\n]\nb: 3\n",
    "{a: 1, b: [2]}\n",
    "a: # comment\n  b: 1\n",
    "# head\n\na: 1 # tail\n\n# end\n",
    "'quoted key': 1\n\"other: key\": 2\n",
    "a: 'it''s'\nb: \"tab\\t \\x41 \\u00e9 \\U0001F600\"\n",
    'a: it\'s fine\nb: a "word" inside\n',
    "url: https://example.com:80/a?b=c#d\n",
    "cmd: python -c 'print(1)'\n",
    "a: &base\n  x: 1\nb:\n  <<: *base\n  y: 2\nc: *base\n",
    "a: &v 5\nb: *v\n",
    "base: &b [1, 2]\nc: *b\n",
    "a:\nb: ~\nc: null\nd: ''\n",
    "a: true\nb: false\nc: -3\nd: 1e3\ne: 0x10\nf: +5\n",
    "a: plain text\n  that goes on\n  here\nb: 1\n",
    "a: 'quoted text\n  that goes on'\nb: \"and\n  this\"\n",
    "---\na: 1\n---\nb: 2\n...\n",
    "a: 1\n---\n---\nb: 2\n",
    "--- {a: 1}\n",
    "%YAML 1.2\n---\na: 1\n",
    "a b c: 1\na-b: 2\n_x: 3\n4: 5\n",
    "list:\n  -\n    a: 1\n  - b\n",
    "- a: 1\n  b: 2\n-\n  - x\n",
    "file_mounts:\n  /a: ./b\n  /c:\n    source: s3://x\n    mode: COPY\n",
    "x: a#b\ny: 'a # b'\nz: a:b\n",
    'envs:\n  A: "1"\n  B: 2\n  C: ${HOME}/x\n',
    "a:\n  - |\n    text\n    more\n  - >-\n    folded\n    text\n",
    "-1\n",
    "just text\n",
    "[a, b]\n",
    "a: '#'\nb: \"#x\"\n",
    "a: [\"x\", 'y']  # tail\n",
    'multi: "a\\\n  b"\n',
    "a: x-y\n",
    "k: {a: , b: 1}\n",
    "k: [a: 1, b]\n",
    "\ufeffa: 1\n",
    "a: 1\r\nb: |\r\n  x\r\n  y\r\n",
    "a:   \n  - 1\n",
    "run: |\n\n  first is empty\n",
    "a: >\n\n  x\n\n\n  y\n",
]


def expected(text: str) -> list[Any]:
    return [document for document in yaml.safe_load_all(text.lstrip("\ufeff")) if document is not None]


def as_json(value: Any) -> Any:
    """Keys are texts here."""
    if isinstance(value, dict):
        return {str(key): as_json(item) for key, item in value.items()}
    return [as_json(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("text", TEXTS)
def test_reads_what_pyyaml_reads(text: str) -> None:
    wanted = as_json(expected(text))
    if "1e3" in text:
        # Of YAML 1.2; PyYAML reads 1.1, where this is a text.
        wanted[0]["d"] = 1000.0
    assert documents(text) == wanted


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("examples/*.yaml")), ids=lambda path: path.name)
def test_reads_the_examples(path: Path) -> None:
    text = path.read_text()
    assert documents(text) == as_json(expected(text))


@pytest.mark.parametrize(
    ("text", "value"),
    [("a: yes\n", "yes"), ("a: 012\n", 12), ("a: 1:30\n", "1:30"), ("a: 2024-01-01\n", "2024-01-01"), ("a: 0o17", 15)],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    assert documents(text) == [{"a": value}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "line 2: duplicate key `a`"),
        ("a: [1\n", "line 1: a bracket or quote is not closed"),
        ("a: 'x\nb: 1\n", "line 1: a bracket or quote is not closed"),
        ("a: b: c\n", "line 1: a mapping cannot begin inside of a value"),
        ("a: !!set x\n", "line 1: the tag `!!set` is not understood"),
        ("a: *x\n", "line 1: an alias of something that does not exist"),
        ("a:\n   b: 1\n  c: 2\n", "line 3: "),
        ("a: - b\n", "line 1: a list begins on a line of its own"),
        ("? a\n: b\n", "line 1: `? key` is not understood here"),
        ("a: @x\n", "line 1: a value cannot begin with `@`"),
        ("a: [1] x\n", "line 1: `x` behind the end of a value"),
        ("a: 1\nb\n", "line 2: `key: value` is expected here"),
        ('a: "\\q"\n', "line 1: the escape `\\q` does not exist"),
        ("a: 1\n---\nb: [\n", "line 3: a bracket or quote is not closed"),
        ("a:\n\t- 1\n", "line 2: a tab does not indent"),
    ],
)
def test_refuses_with_the_line(text: str, message: str) -> None:
    with pytest.raises(YAMLError) as refusal:
        documents(text)
    assert message in str(refusal.value)


def test_deep_nesting_is_refused() -> None:
    for text in ("[" * 200, "".join(" " * i + "a:\n" for i in range(200)) + " " * 200 + "b"):
        with pytest.raises(YAMLError, match=r"nested deeper|not closed"):
            documents(text)


def some_value(random: Random, depth: int) -> Any:
    """Returns a value as PyYAML can write it and YAML 1.1 and 1.2 agree on."""
    if depth and random.random() < 0.6:
        count = random.randrange(4)
        if random.random() < 0.5:
            return [some_value(random, depth - 1) for _ in range(count)]
        return {some_key(random): some_value(random, depth - 1) for _ in range(count)}
    kind = random.randrange(5)
    if kind == 0:
        return random.choice([True, False, None, 0, -1, 42, 2.5])
    return some_text(random)


def some_key(random: Random) -> str:
    return random.choice(
        ["a", "b_c", "d e", "/f", "~/g", "1", "true", "h: i", "'j'", '"k', "#l", "é", "m#n", "-o", "{p"]
    )


def some_text(random: Random) -> str:
    words = [
        "a",
        "b c",
        "#",
        " #",
        ": ",
        "- ",
        "'",
        '"',
        "\n",
        "\\",
        "é",
        "😀",
        "{",
        "]",
        ",",
        "true",
        "1",
        "~",
        "|",
        " ",
    ]
    return "".join(random.choice(words) for _ in range(random.randrange(1, 6)))


@pytest.mark.parametrize("seed", range(20))
def test_reads_what_pyyaml_writes(seed: int) -> None:
    random = Random(seed)
    for _ in range(60):
        value = {"k": some_value(random, 4)}
        text = yaml.safe_dump(
            value,
            default_flow_style=random.choice([True, False, None]),
            width=random.choice([20, 80, 1000]),
            allow_unicode=random.random() < 0.5,
            default_style=random.choice([None, None, '"', "'", "|", ">"]) if random.random() < 0.3 else None,
            indent=random.choice([2, 4]),
        )
        if "!!" in text:
            continue
        wanted = as_json(yaml.safe_load(text))
        assert documents(text) == [wanted], text
