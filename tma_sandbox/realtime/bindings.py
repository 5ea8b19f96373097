"""The entries of `postgres_changes`: which changes a client asks for, and invalid ones."""

import zlib
from dataclasses import dataclass
from typing import Any

from tma_sandbox.realtime import elixir, frames

_COMPARISONS = ("eq", "neq", "lt", "lte", "gt", "gte", "isdistinct")
_PATTERNS = ("like", "ilike", "match", "imatch")
OPERATORS = frozenset((*_COMPARISONS, *_PATTERNS, "in", "is"))


class BindingError(Exception):
    """A binding cannot be served; the text is the real server's."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on one column; `negate` inverts it."""

    column: str
    operator: str
    value: str
    negate: bool


@dataclass(frozen=True, slots=True)
class Binding:
    """One parsed entry of `postgres_changes`. `*` matches any action, schema or table."""

    action: str
    schema: str
    table: str
    filters: tuple[Filter, ...]
    select: tuple[str, ...] | None

    def covers(self, schema: str, table: str) -> bool:
        """Whether it asks for changes of this table."""
        return self.schema in ("*", schema) and self.table in ("*", table)

    def wants(self, action: str) -> bool:
        """Whether it asks for changes of this kind."""
        return self.action in ("*", action)

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The selected columns, sorted: the same selection makes the same frame."""
        return tuple(sorted(set(self.select))) if self.select else None

    def __str__(self) -> str:
        filters = elixir.inspect([(f.column, f.operator, f.value, f.negate) for f in self.filters])
        select = elixir.inspect(list(self.select) if self.select else None)
        return (
            f"event: {self.action}, schema: {self.schema}, table: {self.table}, "
            f"filters: {filters}, select: {select}"
        )


def binding_id(params: dict[str, Any]) -> int:
    """Derive a binding's id from its parameters: the same on every server, for every client.

    The real id is Erlang's hash of the same parameters.
    """
    return zlib.crc32(frames.encode(frames.ordered(params)).encode()) & 0x7FFFFFF


def parse(params: dict[str, Any]) -> Binding:
    """Parse one binding. Raises BindingError.

    >>> print(parse({"event": "insert", "table": "t", "schema": "s", "filter": "a=not.in.(1,2)"}))
    event: INSERT, schema: s, table: t, filters: [{"a", "in", "{1,2}", true}], select: nil
    """
    schema, table = _place(params)
    filters = _filters(params["filter"]) if "filter" in params else ()
    select = _select(params.get("select"))
    if select and "*" in (schema, table):
        raise BindingError(
            "Column selection is not supported for wildcard subscriptions. "
            "Provide an explicit schema and table name."
        )
    event = str(params.get("event", "*")).upper()
    action = event if event in ("INSERT", "UPDATE", "DELETE") else "*"
    return Binding(action, schema, table, filters, select)


def _place(params: dict[str, Any]) -> tuple[str, str]:
    match params:
        case {"schema": str(schema), "table": str(table), "filter": str()}:
            return schema, table
        case {"filter": _}:
            pass
        case {"schema": str(schema), "table": str(table)}:
            return schema, table
        case {"schema": str(schema)} if "table" not in params:
            return schema, "*"
        case {"table": str(table)} if "schema" not in params:
            return "public", table
    raise BindingError(
        "No subscription params provided. Please provide at least a `schema` or `table` "
        f"to subscribe to: {elixir.inspect(params)}"
    )


def _select(columns: Any) -> tuple[str, ...] | None:
    if isinstance(columns, str):
        raise BindingError(
            "Error parsing `select` params: expected a list of column name strings, "
            'e.g. select: ["col1", "col2"]'
        )
    if not isinstance(columns, list):
        return None
    return tuple([column for column in columns if isinstance(column, str)]) or None


def _filters(text: str) -> tuple[Filter, ...]:
    if not text.strip():
        return ()
    try:
        return tuple([_filter(part.strip()) for part in _split(text)])
    except _FilterError as error:
        raise BindingError(f"Error parsing `filter` params: {error}") from error


class _FilterError(ValueError):
    """A filter cannot be parsed; the text is the real server's."""


def _split(text: str) -> list[str]:
    """Split at commas outside parentheses and quotes.

    >>> _split('a=in.(1,2),b=eq."x,y",c=gt.3')
    ['a=in.(1,2)', 'b=eq."x,y"', 'c=gt.3']
    """
    parts, depth, quoted, escaped, previous = [""], 0, False, False, ""
    for char in text:
        if quoted:
            quoted = escaped or char != '"'
            escaped = char == "\\" and not escaped
        elif char == '"' and previous in (".", "(", ","):
            quoted = True
        elif char == "," and depth == 0:
            parts.append("")
            previous = ""
            continue
        else:
            depth = max(0, depth + (char == "(") - (char == ")"))
        parts[-1] += char
        previous = char
    return parts


def _filter(part: str) -> Filter:
    if not part:
        raise _FilterError("filter must not contain empty segments (check for extra commas)")
    column, *rest = part.split("=", 1)
    if not rest:
        raise _FilterError(elixir.inspect([part]))
    negate = rest[0].startswith("not.")
    operator, *values = rest[0].removeprefix("not.").split(".", 1)
    if not values or operator not in OPERATORS:
        raise _FilterError(elixir.inspect([operator, *values]))
    return Filter(column, operator, _value(operator, values[0]), negate)


def _value(operator: str, text: str) -> str:
    if operator != "in":
        return _unquoted(text)
    if len(text) < 2 or text[0] != "(" or text[-1] != ")":  # noqa: PLR2004 - two parentheses
        raise _FilterError("`in` filter value must be wrapped by parentheses")
    return "{" + text[1:-1] + "}"


def _unquoted(text: str) -> str:
    r"""Remove PostgREST's quotes if the value has them.

    >>> [_unquoted(text) for text in ('plain', r'"a,\"b\""', '"open', '"a"b"')]
    ['plain', 'a,"b"', '"open', '"a"b"']
    """
    if not text.startswith('"'):
        return text
    value, escaped = "", False
    for at, char in enumerate(text[1:], start=1):
        if escaped or char not in '\\"':
            value += char
            escaped = False
        elif char == "\\":
            escaped = True
        else:
            return value if at == len(text) - 1 else text
    return text
