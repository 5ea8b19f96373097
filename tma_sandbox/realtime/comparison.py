"""A binding's filter as an SQL condition."""

from psycopg import sql

from tma_sandbox.realtime.bindings import Filter

_SYMBOLS = {
    "eq": sql.SQL("="),
    "neq": sql.SQL("<>"),
    "lt": sql.SQL("<"),
    "lte": sql.SQL("<="),
    "gt": sql.SQL(">"),
    "gte": sql.SQL(">="),
    "like": sql.SQL("like"),
    "ilike": sql.SQL("ilike"),
    "match": sql.SQL("~"),
    "imatch": sql.SQL("~*"),
}

IS_WORDS = {word: sql.SQL(word) for word in ("null", "true", "false", "unknown")}


def condition(wanted: Filter, left: sql.Composable, cast: sql.Composable) -> sql.Composed:
    """Compare `left`, an expression of type `cast`, as the filter says.

    A comparison with NULL is unknown, negated or not, so it passes no filter.
    """
    value = sql.Literal(wanted.value)
    match wanted.operator:
        case "in":
            plain = sql.SQL("{} = any({}::{}[])").format(left, value, cast)
        case "is":
            plain = sql.SQL("{} is {}").format(left, IS_WORDS[wanted.value])
        case "isdistinct":
            plain = sql.SQL("{} is distinct from {}::{}").format(left, value, cast)
        case operator:
            plain = sql.SQL("{} {} {}::{}").format(left, _SYMBOLS[operator], value, cast)
    return sql.SQL("(not ({}))" if wanted.negate else "({})").format(plain)
