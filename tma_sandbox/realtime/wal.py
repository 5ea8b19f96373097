"""Committed row changes, read from a temporary replication slot with plain SQL."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg import AsyncConnection

from tma_sandbox.realtime import pgoutput
from tma_sandbox.realtime.pgoutput import UNCHANGED, Begin, Delete, Insert, Relation
from tma_sandbox.realtime.pgoutput import Update as UpdateMessage

Action = Literal["INSERT", "UPDATE", "DELETE"]

# A real server takes 100 changes at once. Here Begin and Commit count as well.
_MOST_MESSAGES = 300

# Column name -> its text, or None for NULL. A column that is not in the log is not in here.
Fields = dict[str, str | None]


@dataclass(frozen=True, slots=True)
class RowChange:
    """What one statement did to one row.

    `new` is the row after it (empty for DELETE). `identity` is what the log has of the row before
    it: the key columns, or all of them under `replica identity full` (empty for INSERT).
    """

    relation: Relation
    action: Action
    committed_at: datetime
    new: Fields
    identity: Fields

    @property
    def record(self) -> Fields:
        """The new row, with unchanged large values filled in where the log has them."""
        return self.identity | self.new


Transaction = list[RowChange]


class Slot:
    """A temporary logical replication slot, which lives as long as `conn`."""

    def __init__(self, conn: AsyncConnection[Any], name: str, publication: str) -> None:
        self._conn = conn
        self._name = name
        self._publication = publication

    async def create(self) -> None:
        """Create the slot: it has what is committed from now on.

        Waits until the transactions that are open at this moment have ended.
        """
        await self._conn.execute(
            "select pg_create_logical_replication_slot(%s, 'pgoutput', temporary => true)",
            (self._name,),
        )

    async def read(self, most: int = _MOST_MESSAGES) -> list[Transaction]:
        """Consume what was committed since the last call, oldest first.

        `most` counts messages, but a transaction is never split.
        """
        cursor = await self._conn.execute(
            """
            select data from pg_logical_slot_get_binary_changes(
                %s, null, %s, 'proto_version', '1', 'publication_names', %s)
            """,
            (self._name, most, self._publication),
            prepare=True,
            binary=True,
        )
        return transactions([pgoutput.decode(data) async for (data,) in cursor])

    async def drop(self) -> None:
        """Drop the slot: a database that has one cannot be dropped."""
        await self._conn.execute("select pg_drop_replication_slot(%s)", (self._name,))


def transactions(messages: Iterable[pgoutput.Message | None]) -> list[Transaction]:
    """Group messages by transaction, leaving out those without rows."""
    relations: dict[int, Relation] = {}
    found: list[Transaction] = []
    committed_at: datetime | None = None
    for message in messages:
        match message:
            case Relation():
                relations[message.oid] = message
            case Begin():
                committed_at = message.committed_at
                found.append([])
            case Insert() | UpdateMessage() | Delete() if committed_at:
                found[-1].append(_change(message, relations[message.relation], committed_at))
    return [transaction for transaction in found if transaction]


def _change(
    message: Insert | UpdateMessage | Delete, relation: Relation, at: datetime
) -> RowChange:
    match message:
        case Insert(new=new):
            return RowChange(relation, "INSERT", at, _fields(relation, new), {})
        case UpdateMessage(new=new, old=old):
            # If the log has no old identity, it has not changed: the new row has it.
            identity = _identity(relation, new if old is None else old)
            return RowChange(relation, "UPDATE", at, _fields(relation, new), identity)
        case Delete(old=old):
            return RowChange(relation, "DELETE", at, {}, _identity(relation, old))


def _fields(relation: Relation, row: pgoutput.Row) -> Fields:
    return {
        column.name: value
        for column, value in zip(relation.columns, row, strict=True)
        if value is not UNCHANGED
    }


def _identity(relation: Relation, row: pgoutput.Row) -> Fields:
    fields = _fields(relation, row)
    return {c.name: fields[c.name] for c in relation.columns if c.key and c.name in fields}
