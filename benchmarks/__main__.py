"""`python -m benchmarks [PART ...]`: run parts, print their tables, keep their results.

A full run also writes its section of docs/performance.md; --quick writes nothing.
"""

import argparse
import asyncio
import importlib
import os
import signal
from datetime import UTC, datetime

from benchmarks import machine, page, results
from benchmarks.sections import PARTS


def main() -> None:
    """Run the named parts; all of them by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument(
        "--quick", action="store_true", help="small sizes and one round, to see whether it works"
    )
    parser.add_argument("--rounds", type=int, help="how many rounds each contender gets")
    for end in ("database", "telegram"):
        parser.add_argument(f"--{end}-ms", type=float, help=f"one way to the {end}, for distance")
    options = parser.parse_args()
    for name in options.parts or PARTS:
        if name not in PARTS:
            parser.error(f"there is no part {name}; there are {', '.join(PARTS)}")
    # As with Ctrl-C, so everything that was started is stopped.
    for sig in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sig, signal.default_int_handler)
    print(machine.describe(), flush=True)
    for name in options.parts or PARTS:
        about = machine.describe()
        print(f"\n## {name}, load average {os.getloadavg()[0]:.1f}\n", flush=True)
        part = importlib.import_module(f"benchmarks.{name}")
        sizes = dict(part.QUICK) if options.quick else {}
        for size in ("rounds", "database_ms", "telegram_ms"):
            if getattr(options, size) and size in part.QUICK:
                sizes[size] = getattr(options, size)
        result = asyncio.run(part.run(**sizes))
        if "skipped" in result:
            print(result["skipped"])
            continue
        report = part.report(result)
        print(report)
        if not options.quick:
            day = datetime.now(UTC).date().isoformat()
            results.keep(name, day, about, result)
            page.write(name, day, about, report)


if __name__ == "__main__":
    main()
