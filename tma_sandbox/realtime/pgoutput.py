"""Postgres' logical replication messages, protocol version 1, as immutable values.

Layout: https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
"""

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)


class Unchanged(Enum):
    """Marks a large value that an update did not change, so that it is not in the log."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED

# A column's text as its type writes it, or NULL.
Value = str | None | Unchanged
Row = tuple[Value, ...]


class DecodeError(ValueError):
    """The bytes are not a message of this protocol."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a relation. `key`: whether it belongs to the replica identity.

    Under `replica identity full` all columns do.
    """

    name: str
    type_oid: int
    key: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as it was when the rows after this message were written."""

    oid: int
    schema: str
    name: str
    identity: str  # d = primary key, n = nothing, f = the full row, i = an index
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Begin:
    """A transaction begins; its rows follow, then its Commit."""

    xid: int
    committed_at: datetime


@dataclass(frozen=True, slots=True)
class Commit:
    """The transaction is complete."""

    committed_at: datetime


@dataclass(frozen=True, slots=True)
class Insert:
    """A new row."""

    relation: int
    new: Row


@dataclass(frozen=True, slots=True)
class Update:
    """A changed row. `old` has the previous identity columns if they changed; others are NULL."""

    relation: int
    new: Row
    old: Row | None


@dataclass(frozen=True, slots=True)
class Delete:
    """A deleted row; only its identity columns have values."""

    relation: int
    old: Row


Message = Relation | Begin | Commit | Insert | Update | Delete


def decode(data: bytes) -> Message | None:
    """Decode one message; None for kinds that carry no row (truncate, type, origin, message).

    Raises DecodeError for anything else.

    >>> decode(b"B" + bytes(8) + bytes(8) + (7).to_bytes(4, "big"))
    Begin(xid=7, committed_at=datetime.datetime(2000, 1, 1, 0, 0, tzinfo=datetime.timezone.utc))
    """
    reader = _Reader(data)
    try:
        return _message(reader.tag(), reader)
    except (struct.error, UnicodeDecodeError) as error:
        raise DecodeError(f"message {data[:1]!r} is truncated or corrupt: {error}") from error


def _message(tag: str, reader: "_Reader") -> Message | None:
    match tag:
        case "B":
            reader.skip(8)  # the LSN of the commit
            committed_at = reader.timestamp()
            return Begin(reader.number("I"), committed_at)
        case "C":
            reader.skip(1 + 8 + 8)  # flags and two LSNs
            return Commit(reader.timestamp())
        case "R":
            return _relation(reader)
        case "I":
            relation = reader.number("I")
            reader.expect("N")
            return Insert(relation, reader.row())
        case "U":
            return _update(reader)
        case "D":
            relation = reader.number("I")
            reader.expect("KO")
            return Delete(relation, reader.row())
        case "T" | "Y" | "O" | "M":
            return None
        case _:
            raise DecodeError(f"unknown message {tag!r}")


def _relation(reader: "_Reader") -> Relation:
    oid, schema, name, identity = reader.number("I"), reader.text(), reader.text(), reader.tag()
    columns = []
    for _ in range(reader.number("H")):
        key = bool(reader.number("B") & 1)
        column, type_oid = reader.text(), reader.number("I")
        reader.skip(4)  # type modifier
        columns.append(Column(column, type_oid, key))
    return Relation(oid, schema or "pg_catalog", name, identity, tuple(columns))


def _update(reader: "_Reader") -> Update:
    relation = reader.number("I")
    old = None
    if reader.expect("KON") != "N":
        old = reader.row()
        reader.expect("N")
    return Update(relation, reader.row(), old)


class _Reader:
    """Reads values one after another."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def skip(self, size: int) -> None:
        self._at += size

    def number(self, form: str) -> int:
        [value] = struct.unpack_from(f"!{form}", self._data, self._at)
        self._at += struct.calcsize(form)
        return int(value)

    def bytes(self, size: int) -> bytes:
        [value] = struct.unpack_from(f"{size}s", self._data, self._at)
        self._at += size
        return bytes(value)

    def tag(self) -> str:
        return self.bytes(1).decode("ascii")

    def expect(self, tags: str) -> str:
        if (tag := self.tag()) not in tags:
            raise DecodeError(f"expected one of {tags!r}, found {tag!r}")
        return tag

    def text(self) -> str:
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise DecodeError("unterminated name")
        value = self._data[self._at : end].decode()
        self._at = end + 1
        return value

    def timestamp(self) -> datetime:
        return _EPOCH + timedelta(microseconds=self.number("q"))

    def row(self) -> Row:
        return tuple([self._value() for _ in range(self.number("H"))])

    def _value(self) -> Value:
        match self.expect("nut"):
            case "n":
                return None
            case "u":
                return UNCHANGED
            case _:
                return self.bytes(self.number("I")).decode()
