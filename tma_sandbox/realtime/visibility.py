"""What each subscriber sees of a change: privileges, filters, row level security, size."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from tma_sandbox.realtime import comparison, rows, tables
from tma_sandbox.realtime.bindings import Filter
from tma_sandbox.realtime.database import Connection
from tma_sandbox.realtime.frames import Json
from tma_sandbox.realtime.subscriptions import Subscription
from tma_sandbox.realtime.tables import Table
from tma_sandbox.realtime.tokens import Claims
from tma_sandbox.realtime.wal import Fields, RowChange

_NO_KEY = "Error 400: Bad Request, no primary key"
_UNREADABLE_KEY = "Error 401: Unauthorized"
_TOO_LARGE = "Error 413: Payload Too Large"
_POLICY_RAISED = "Error 500: Internal Server Error, RLS policy evaluation failed"

# Roughly what the real server's log reader needs for a column besides its value.
_COLUMN_OVERHEAD = 80

Select = tuple[str, ...] | None
Seen = set[tuple[int, Subscription]]  # (which change, who sees it)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One change as these subscriptions see it: the `data` of their frames."""

    data: dict[str, Any]
    subscriptions: tuple[Subscription, ...]


async def deliveries(
    conn: Connection,
    changes: Sequence[RowChange],
    subscriptions: Iterable[Subscription],
    record_bytes: int,
) -> list[Delivery]:
    """Decide who sees what, in the order of the changes.

    Policies are applied to rows as they are now, not as they were: if a table has row level
    security, nobody sees a row that has been deleted or given another key in the meantime.
    """
    everybody = list(subscriptions)
    found: dict[int, list[Delivery]] = defaultdict(list)
    numbered: dict[tuple[str, str], dict[int, RowChange]] = defaultdict(dict)
    for number, change in enumerate(changes):
        numbered[change.relation.schema, change.relation.name][number] = change
    for (schema, name), of_table in numbered.items():
        asking = [s for s in everybody if s.binding.covers(schema, name)]
        roles = sorted({s.claims.role for s in asking})
        table = await tables.look_up(conn, schema, name, roles) if roles else None
        if table is None:
            continue
        for role in roles:
            access = _RoleAccess(conn, table, role, record_bytes)
            of_role = [s for s in asking if s.claims.role == role]
            for number, delivery in await access.deliveries(of_table, of_role):
                found[number].append(delivery)
    return [delivery for number in sorted(found) for delivery in found[number]]


@dataclass(frozen=True, slots=True)
class _RoleAccess:
    """What one role may see of the changes of one table."""

    conn: Connection
    table: Table
    role: str
    record_bytes: int

    async def deliveries(
        self, changes: dict[int, RowChange], asking: list[Subscription]
    ) -> list[tuple[int, Delivery]]:
        """Pair each delivery with the number of its change."""
        refusals = {number: self._refusal(change) for number, change in changes.items()}
        readable = {number: changes[number] for number, why in refusals.items() if why is None}
        wanted = await self._wanted(readable, asking)
        seen, raised = await self._allowed(readable, wanted)
        found = []
        for select in sorted({s.binding.columns for s in asking}, key=lambda s: ",".join(s or ())):
            alike = [s for s in asking if s.binding.columns == select]
            for number, why in refusals.items():
                refused = _pick(alike, number, raised)
                if why:
                    refused = tuple([s for s in alike if s.binding.wants(changes[number].action)])
                if refused:
                    data = _withheld(changes[number], why or _POLICY_RAISED)
                    found.append((number, Delivery(data, refused)))
            shown = {n: change for n, change in readable.items() if _pick(alike, n, seen)}
            for number, data in zip(shown, await self._shown(shown.values(), select), strict=True):
                found.append((number, Delivery(data, _pick(alike, number, seen))))
        return found

    def _refusal(self, change: RowChange) -> str | None:
        """Why this role may not see the row at all. A deletion carries no row."""
        if change.action == "DELETE":
            return None
        if not self.table.key:
            return _NO_KEY
        if not self.table.readable[self.role].issuperset(self.table.key):
            return _UNREADABLE_KEY
        return None

    async def _wanted(self, changes: dict[int, RowChange], asking: list[Subscription]) -> Seen:
        """Match changes with subscriptions by action and filters."""
        wanted: Seen = set()
        for filters in {s.binding.filters for s in asking}:
            passing = await self._passing(changes, filters)
            wanted |= {
                (number, s)
                for s in asking
                if s.binding.filters == filters
                for number in passing
                if s.binding.wants(changes[number].action)
            }
        return wanted

    async def _passing(
        self, changes: dict[int, RowChange], filters: tuple[Filter, ...]
    ) -> Collection[int]:
        """Return the changes whose row, or old identity of a deleted one, passes all filters."""
        if not filters:
            return changes.keys()
        columns = sorted({wanted.column for wanted in filters})
        if not {column.name for column in self.table.columns}.issuperset(columns):
            return ()  # a column was renamed since the subscription began
        conditions = []
        for wanted in filters:
            cast = self.table.cast(wanted.column)
            left = sql.SQL("{}::{}").format(rows.named(columns.index(wanted.column)), cast)
            conditions.append(comparison.condition(wanted, left, cast))
        known = {
            number: change.identity if change.action == "DELETE" else change.new
            for number, change in changes.items()
        }
        complete = {n: row for n, row in known.items() if row.keys() >= set(columns)}
        return await rows.matching(self.conn, complete, columns, sql.SQL(" and ").join(conditions))

    async def _allowed(self, changes: dict[int, RowChange], wanted: Seen) -> tuple[Seen, Seen]:
        """Return what row level security shows, and where its policies raised an error."""
        if not self.table.rls:
            return wanted, set()
        seen = {(number, s) for number, s in wanted if changes[number].action == "DELETE"}
        raised: Seen = set()
        for claims in {s.claims for _, s in wanted - seen}:
            theirs = {(number, s) for number, s in wanted - seen if s.claims == claims}
            try:
                visible = await self._visible({n: changes[n].record for n, _ in theirs}, claims)
            except psycopg.OperationalError:
                raise
            except psycopg.Error:
                raised |= theirs
            else:
                seen |= {(number, s) for number, s in theirs if number in visible}
        return seen, raised

    async def _visible(self, found: dict[int, Fields], claims: Claims) -> Collection[int]:
        """Return the rows that row level security shows now to a role with these claims."""
        same_key = [
            sql.SQL("t.{} = {}::{}").format(
                sql.Identifier(column), rows.named(at), self.table.cast(column)
            )
            for at, column in enumerate(self.table.key)
        ]
        exists = sql.SQL("exists (select from {} t where {})").format(
            self.table.identifier, sql.SQL(" and ").join(same_key)
        )
        async with self.conn.transaction():
            await self.conn.execute(
                "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true)",
                (self.role, claims.text),
            )
            return await rows.matching(self.conn, found, self.table.key, exists)

    async def _shown(self, changes: Collection[RowChange], select: Select) -> list[dict[str, Any]]:
        """Format the data of visible changes."""
        large = [_size(change) > self.record_bytes for change in changes]
        records = [self._record(change, select) for change in changes]
        former = [self._old_record(change, select) for change in changes]
        columns = [
            {"name": column.name, "type": column.type_name}
            for column in self.table.columns
            if self._is_shown(column.name, select)
        ]
        return [
            _data(
                change,
                record=record,
                columns=Json(json.dumps(columns, ensure_ascii=False)),
                errors=[_TOO_LARGE] if is_large else None,
                committed_at=_milliseconds(change),
                old_record=old_record,
            )
            for change, record, old_record, is_large in zip(
                changes,
                await rows.written(self.conn, self.table, records, large),
                await rows.written(self.conn, self.table, former, large),
                large,
                strict=True,
            )
        ]

    def _is_shown(self, column: str, select: Select) -> bool:
        return column in self.table.readable[self.role] and (
            select is None or column in select or column in self.table.key
        )

    def _record(self, change: RowChange, select: Select) -> Fields:
        if change.action == "DELETE":
            return {}
        return {c: text for c, text in change.record.items() if self._is_shown(c, select)}

    def _old_record(self, change: RowChange, select: Select) -> Fields:
        # Policies cannot be applied to a row that is gone, so only its key is shown.
        key_only = change.action == "DELETE" and self.table.rls
        return {
            c: text
            for c, text in change.identity.items()
            if self._is_shown(c, select) and (c in self.table.key or not key_only)
        }


def _pick(asking: Iterable[Subscription], number: int, seen: Seen) -> tuple[Subscription, ...]:
    return tuple([s for s in asking if (number, s) in seen])


def _size(change: RowChange) -> int:
    """Estimate the size of this change in bytes in the real server's log reader."""
    return sum(
        len(json.dumps(text, ensure_ascii=False).encode()) + _COLUMN_OVERHEAD
        for fields in (change.new, change.identity)
        for text in fields.values()
    )


def _milliseconds(change: RowChange) -> str:
    at = change.committed_at
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"


def _withheld(change: RowChange, error: str) -> dict[str, Any]:
    return _data(change, record={}, columns=[], errors=[error], committed_at=None, old_record={})


def _data(
    change: RowChange,
    *,
    record: Any,
    columns: Any,
    errors: list[str] | None,
    committed_at: str | None,
    old_record: Any,
) -> dict[str, Any]:
    """Build the data, in the real server's order of keys."""
    data = {
        "table": change.relation.name,
        "type": change.action,
        "record": record,
        "columns": columns,
        "errors": errors,
        "schema": change.relation.schema,
        "commit_timestamp": committed_at,
        "old_record": old_record,
    }
    absent = {"INSERT": "old_record", "DELETE": "record"}.get(change.action)
    return {key: value for key, value in data.items() if key != absent}
