"""One YAML file to a Document: plain values by the rules of YAML 1.2, each with its line.

Owns opening the file and telling a person what a parser's complaint means. Scalars are resolved
here and not by the library, so that `on` stays text, `010` is questioned, and the text of a number
is kept where text was meant. The parser itself is passed in.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.config.child import Mistake
from gateway.config.document import Document, Loc, key_path

SIZE_MAX = 256 << 10
"""Largest configuration, in bytes; a school's is a hundredth of it. Bounds the parser's time."""

_VALUES_MAX = 20_000  # aliases can make a small file enormous
_DEPTH_MAX = 20
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS = dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(
    ("false", "False", "FALSE"), False
)
_INT = re.compile(r"[-+]?[0-9]{1,18}|0o[0-7]{1,18}|0x[0-9a-fA-F]{1,15}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_PLAIN_TAGS = frozenset({"str", "int", "float", "bool", "null", "map", "seq", "timestamp", "merge"})
_TAG = "tag:yaml.org,2002:"

# What the parser says (a part of it), and what a person can do about it.
_HINTS = (
    (r"'\t'", "indent with spaces: YAML allows no tab there"),
    ("mapping values are not allowed", "put a text that holds `: ` in quotes, or mend the indent"),
    ("cannot start any token", "put the text in quotes"),
    ("expected ',' or", "close the bracket, and put a comma between two entries"),
    ("could not find expected ':'", "write `key: value`, with a space after the colon"),
    ("expected <block end>", "mend the indent: keys of one mapping stand under each other"),
    ("unexpected end of stream", "close the quotes"),
    ("another document", "one file holds one document: remove the `---`"),
    ("undefined alias", "put a text that begins with `*` in quotes"),
)


class Number(int):
    """A whole number that remembers how it was written: `raw`."""

    raw: str


class Fraction(float):
    """A number with a fraction that remembers how it was written: `raw`."""

    raw: str


def read_document(
    path: str | Path, compose: Callable[[str], Any]
) -> tuple[Document | None, list[Mistake]]:
    """The document in that file, and what is wrong with it as YAML; None if nothing came of it.

    `compose` turns text into a tree of nodes (ruamel.yaml's shape) and may raise anything.
    """
    walk = _Walk(Document(str(path), {}, {}))
    try:
        walk.document.data.update(walk.value(_tree(Path(path), compose), ()))
    except _Refused as refused:
        return None, [Mistake(str(path), refused.line, "", refused.what, refused.right)]
    return walk.document, walk.mistakes


class _Refused(Exception):  # noqa: N818 — carries a message for a person, nothing crashed
    def __init__(self, what: str, right: str, line: int = 0) -> None:
        super().__init__(what)
        self.what, self.right, self.line = what, right, line


def _text(path: Path) -> str:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise _Refused("is not a regular file", "name a YAML file")
        if status.st_size > SIZE_MAX:
            raise _Refused(f"is larger than {SIZE_MAX >> 10} KiB", "is this the right file?")
        raw = path.read_bytes()
    except FileNotFoundError:
        raise _Refused("does not exist", "start from config/premises.yaml") from None
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or "not a file name"
        raise _Refused(f"cannot be read ({why})", "let the gateway's user read it") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _Refused("is not UTF-8 text", "save the file as UTF-8", line) from None
    old = re.search(r"^%YAML (?!1\.2\s*$).*$", text, re.MULTILINE)
    if old:
        line = text.count("\n", 0, old.start()) + 1
        raise _Refused("asks for another YAML than 1.2", "remove the %YAML line", line)
    return text


def _tree(path: Path, compose: Callable[[str], Any]) -> Any:
    text = _text(path)
    try:
        node = compose(text)
    except RecursionError:
        raise _Refused("is nested too deeply", "write it flatter") from None
    except Exception as error:  # noqa: BLE001 — a parser fed garbage raises more than it documents
        raise _syntax(text, error) from None
    if node is None:
        raise _Refused("is empty", "start from config/premises.yaml")
    if node.id != "mapping":
        raise _Refused("is not a mapping at its top", "start with a key such as `premises:`")
    return node


def _syntax(text: str, error: Exception) -> _Refused:
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
    mark = getattr(error, "problem_mark", None)
    position = getattr(error, "position", None)
    line = 0
    if mark is not None:
        line = min(mark.line, text.rstrip().count("\n")) + 1
    elif isinstance(position, int):
        line = text.count("\n", 0, position) + 1
    general = "mend this line or the one above it"
    right = next((hint for part, hint in _HINTS if part in problem), general)
    what = " ".join(problem.split())[:200] or type(error).__name__
    return _Refused(f"is not YAML ({what})", right, line)


@dataclass(slots=True)
class _Walk:
    """One way through a tree of nodes, filling the document's lines."""

    document: Document
    mistakes: list[Mistake] = field(default_factory=list)
    count: int = 0

    def value(self, node: Any, loc: Loc) -> Any:
        line = node.start_mark.line + 1
        self.count += 1
        if self.count > _VALUES_MAX or len(loc) > _DEPTH_MAX:
            raise _Refused("is too deep or too large", "does an alias hold itself?", line)
        self.document.lines.setdefault(loc, line)
        tag = str(node.tag or "").removeprefix(_TAG)
        if tag not in _PLAIN_TAGS:
            self._wrong(loc, f"has the tag {str(node.tag)!r}", "write the value without a tag")
            return None
        if node.id == "mapping":
            return self._mapping(node, loc)
        if node.id == "sequence":
            return [self.value(item, (*loc, n)) for n, item in enumerate(node.value)]
        return node.value if node.style or tag == "str" else _scalar(node.value)

    def _mapping(self, node: Any, loc: Loc) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, item in node.value:
            line = key.start_mark.line + 1
            if key.id != "scalar":
                raise _Refused("has a key that is no text", "write `key: value`", line)
            place = (*loc, key.value)
            if key.value in result:
                first = self.document.lines[place]
                self.mistakes.append(
                    Mistake(
                        self.document.file,
                        line,
                        key_path(place),
                        f"stands here twice (first in line {first})",
                        "keep one of the two",
                    )
                )
                continue
            self.document.lines[place] = line
            result[key.value] = self.value(item, place)
        return result

    def _wrong(self, loc: Loc, what: str, right: str) -> None:
        self.mistakes.append(self.document.mistake(loc, what, right))


def _scalar(raw: str) -> Any:
    if raw in _NULLS:
        return None
    if raw in _BOOLS:
        return _BOOLS[raw]
    if _INT.fullmatch(raw):
        number = Number(raw, 0 if raw[:2] in {"0o", "0x"} else 10)
        number.raw = raw
        return number
    if _FLOAT.fullmatch(raw):
        fraction = Fraction(raw)
        fraction.raw = raw
        return fraction
    return raw
