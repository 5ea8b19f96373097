"""The saved results of the last full run of each part."""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def keep(part: str, day: str, machine: str, result: Any) -> None:
    """Write the result of a full run; numbers to a thousandth."""
    RESULTS.mkdir(exist_ok=True)
    kept = json.loads(
        json.dumps({"day": day, "machine": machine, "result": result}), parse_float=_short
    )
    (RESULTS / f"{part}.json").write_text(json.dumps(kept) + "\n")


def _short(number: str) -> float:
    return round(float(number), 3)
