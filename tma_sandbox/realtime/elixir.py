"""Values as Elixir prints them: the real server's error texts contain them."""

import json
from typing import Any


def inspect(value: Any) -> str:
    """Format a value as Elixir's `inspect` does; tuples are Elixir's tuples.

    >>> print(inspect([("nocol", "eq", "1", False)]))
    [{"nocol", "eq", "1", false}]
    >>> print(inspect({"event": "INSERT", "table": None}))
    %{"event" => "INSERT", "table" => nil}
    """
    match value:
        case None:
            return "nil"
        case tuple():
            return "{" + ", ".join(map(inspect, value)) + "}"
        case list():
            return "[" + ", ".join(map(inspect, value)) + "]"
        case dict():
            pairs = (f"{inspect(key)} => {inspect(value[key])}" for key in sorted(value))
            return "%{" + ", ".join(pairs) + "}"
        case _:
            return json.dumps(value, ensure_ascii=False)
