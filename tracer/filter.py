"""The display filter: ``state:fin-wait-1 port:8080 and not (flag:rst or rtt>10ms)``.

A condition is key, operator, value. ``:`` (or ``=``) asks for any of the values between commas, ``!=`` for none;
``<``, ``<=``, ``>``, ``>=`` compare where there is an order. Conditions side by side must all hold, as with ``and``;
``or`` binds weaker, ``not`` stronger, parentheses group. A condition on something that a row does not have is false.

A filter is compiled for one table (filter_keys.TABLES) and then judges rows one by one (``matches``) or whole columns
at once (``mask``). It is pure: columns and rows are whatever answers to the names in the table of keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from tracer.filter_judges import Mask, Value
from tracer.filter_keys import KEY, KEYS, Key, TableName, keys_of
from tracer.filter_values import ORDER, TYPES, near

DEEPEST: Final = 64
"""Parentheses in parentheses, so that no text can exhaust the stack."""


class FilterError(Exception):
    """A filter that cannot be understood: one sentence, and where."""

    def __init__(self, sentence: str, position: int) -> None:
        super().__init__(f"{sentence} (at character {position + 1})")
        self.sentence = sentence
        self.position = position
        """Index into the filter's text."""


class Columns(Protocol):
    """A column by its name: an array, or a list of texts; addresses have shape (n, 2)."""

    def __getitem__(self, name: str, /) -> Any: ...


class Row(Protocol):
    """A value by its name; None where the row does not have it; an address is a pair."""

    def __getitem__(self, name: str, /) -> Any: ...


class Node(Protocol):
    """A part of a compiled filter."""

    def matches(self, row: Row) -> bool:
        """Whether one row meets it."""
        ...

    def mask(self, columns: Columns, count: int) -> Mask:
        """Which of ``count`` rows do."""
        ...


@dataclass(frozen=True)
class Condition:
    """One key, operator and value."""

    key: Key
    value: Value
    names: tuple[str, ...]
    """Columns of the table it was compiled for."""

    def matches(self, row: Row) -> bool:
        """Any of the columns is known and meets the value."""
        unknown = self.key.unknown
        for name in self.names:
            value = row[name]
            if value is not None and (unknown is None or value != unknown) and self.value.one(value):
                return True
        return False

    def mask(self, columns: Columns, count: int) -> Mask:
        """The same over columns."""
        found = np.zeros(count, np.bool_)
        for name in self.names:
            values = columns[name]
            hits = self.value.many(values)
            found |= hits if self.key.unknown is None else hits & (values != self.key.unknown)
        return found


@dataclass(frozen=True)
class Every:
    """All parts hold; of none: always."""

    parts: tuple[Node, ...]

    def matches(self, row: Row) -> bool:
        """All of them."""
        return all(part.matches(row) for part in self.parts)

    def mask(self, columns: Columns, count: int) -> Mask:
        """All of them; a later part is not worked out where nothing is left."""
        found = np.ones(count, np.bool_)
        for part in self.parts:
            if not found.any():
                break
            found &= part.mask(columns, count)
        return found


@dataclass(frozen=True)
class Either:
    """One part holds."""

    parts: tuple[Node, ...]

    def matches(self, row: Row) -> bool:
        """Any of them."""
        return any(part.matches(row) for part in self.parts)

    def mask(self, columns: Columns, count: int) -> Mask:
        """Any of them."""
        found = np.zeros(count, np.bool_)
        for part in self.parts:
            found |= part.mask(columns, count)
        return found


@dataclass(frozen=True)
class Not:
    """The part does not hold."""

    part: Node

    def matches(self, row: Row) -> bool:
        """Not it."""
        return not self.part.matches(row)

    def mask(self, columns: Columns, count: int) -> Mask:
        """Not it."""
        return ~self.part.mask(columns, count)


@dataclass(frozen=True)
class Filter:
    """A compiled filter."""

    text: str
    table: TableName
    node: Node
    keys: frozenset[str]
    """Names of the keys it uses: what must be known for it."""

    def matches(self, row: Row) -> bool:
        """Whether one row passes."""
        return self.node.matches(row)

    def mask(self, columns: Columns, count: int) -> Mask:
        """Which of ``count`` rows pass."""
        return self.node.mask(columns, count)


def compile_filter(text: str, table: TableName) -> Filter:
    """Compile a filter for rows of ``table``. Empty text lets everything pass.

    Raises FilterError, one sentence and a position, for any text that is not a filter.
    """
    return _Parser(text, table).filter()


_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<open>\() | (?P<close>\)) | (?P<and>&&) | (?P<or>\|\|) | (?P<not>!(?!=)) |
        (?P<word>[A-Za-z_][A-Za-z0-9_.-]*)(?P<gap>\s*)(?P<operator>==|!=|<=|>=|<|>|=|:)? | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
_VALUE: Final = re.compile(r'\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<open>")|(?P<bare>[^\s()]+))', re.DOTALL)
_CONNECTIVES: Final = ("and", "or", "not")


class _Parser:
    """Recursive descent over the text; ``at`` is behind the current token."""

    def __init__(self, text: str, table: TableName) -> None:
        self.text, self.table = text, table
        self.at = self.start = 0
        self.depth = 0
        self.used: set[str] = set()
        self._next()

    def filter(self) -> Filter:
        node = self._either() if self.token != "end" else Every(())
        if self.token != "end":
            raise FilterError("this ) closes nothing", self.start)
        return Filter(self.text, self.table, node, frozenset(self.used))

    def _next(self) -> None:
        found = _TOKEN.match(self.text, self.at)
        if found is None:
            start = self.at + len(self.text[self.at :]) - len(self.text[self.at :].lstrip())
            raise FilterError(f"a condition begins with a key, not with {self.text[start]!r}", start)
        self.token = found.lastgroup if found["word"] is None else "condition"
        if self.token == "condition" and found["operator"] is None and found["word"].lower() in _CONNECTIVES:
            self.token = found["word"].lower()
            self.word, self.operator, self.at = "", "", found.end("word")
        else:
            self.word, self.operator, self.at = found["word"], found["operator"] or "", found.end()
        self.start = found.end() - len(found[0].lstrip())

    def _either(self) -> Node:
        return self._chain("or", self._every, Either)

    def _every(self) -> Node:
        parts = [self._not()]
        while self.token in ("and", "not", "open", "condition"):
            if self.token == "and":
                self._next()
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def _chain(self, word: str, part: Callable[[], Node], join: Callable[[tuple[Node, ...]], Node]) -> Node:
        parts = [part()]
        while self.token == word:
            self._next()
            parts.append(part())
        return parts[0] if len(parts) == 1 else join(tuple(parts))

    def _not(self) -> Node:
        turned = False
        while self.token == "not":
            turned = not turned
            self._next()
        node = self._group()
        return Not(node) if turned else node

    def _group(self) -> Node:
        if self.token == "condition":
            return self._condition()
        if self.token != "open":
            what = "the filter ends" if self.token == "end" else f"there is {self.text[self.start : self.at].strip()!r}"
            raise FilterError(f"{what} where a condition should stand, as port:80", self.start)
        opened = self.start
        self.depth += 1
        if self.depth > DEEPEST:
            raise FilterError(f"more than {DEEPEST} parentheses in each other", opened)
        self._next()
        node = self._either()
        if self.token != "close":
            raise FilterError("this ( is not closed", opened)
        self.depth -= 1
        self._next()
        return node

    def _condition(self) -> Node:
        word, operator, start = self.word, self.operator, self.start
        key = KEY.get(word.lower().replace("-", "_"))
        if key is None:
            if not operator:
                raise FilterError(f"{word!r} is not a condition; to look for text write text:{word}", start)
            known = [one.name for one in keys_of(self.table)]
            raise FilterError(f"no key is called {word!r}{near(word, known)}", start)
        if not key.columns(self.table):
            raise FilterError(f"{key.name}: is a key for {', '.join(key.tables)}, not for {self.table}", start)
        kind = TYPES[key.type]
        if not operator:
            raise FilterError(f"{key.name} lacks a value, as {key.name}:{_example(key)}", start)
        if operator in ORDER and not kind.ordered:
            raise FilterError(f"{key.name} has no order: {operator} cannot be asked of it", start)
        found = _VALUE.match(self.text, self.at)
        if found is None:
            raise FilterError(f"{word}{operator} lacks a value, as {key.name}:{_example(key)}", self.at)
        if found["open"]:
            raise FilterError('this " is not closed', found.start("open"))
        quoted = found["quoted"]
        if quoted is not None:
            items, place = [re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)], found.start("quoted")
        else:
            items, place = found["bare"].split(","), found.start("bare")
        if not all(items):
            raise FilterError("a value is empty", place)
        try:
            value = kind.read(operator, items)
        except ValueError as wrong:
            raise FilterError(f"{key.name}: {wrong}", place) from None
        self.at = found.end()
        self.used.add(key.name)
        self._next()
        condition = Condition(key, value, key.columns(self.table))
        return Not(condition) if operator == "!=" else condition


def _example(key: Key) -> str:
    words = TYPES[key.type].words
    return words[0] if words else TYPES[key.type].example.split(",")[0]


def complete(text: str, table: TableName) -> tuple[int, list[str]]:
    """What the end of ``text`` can be completed to: where the unfinished word begins, and the words in order."""
    found = re.search(r"[^\s()!,:=<>]*\Z", text)
    start = found.start() if found else len(text)
    word = text[start:].lower()
    before = re.search(r"([A-Za-z_][\w.-]*)(?:==|!=|:|=)[^\s()]*\Z", text[:start])
    key = KEY.get(before[1].lower().replace("-", "_")) if before else None
    if key is not None:
        if key.type == "event":  # its names have a colon in them
            start = max(text.index(":", before.end(1)) + 1 if before else start, text.rfind(",") + 1)
            word = text[start:].lower()
        choices: tuple[str, ...] = TYPES[key.type].words
    else:
        choices = tuple(f"{one.name}:" for one in KEYS if one.columns(table))
    return start, [choice for choice in choices if choice.startswith(word)]
