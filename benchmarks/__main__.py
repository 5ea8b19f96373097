"""`python -m benchmarks [PART ...]`: run parts, print their tables, keep their results."""

import argparse
import asyncio
import importlib
import os
import signal

from benchmarks import machine, results

PARTS = (
    "drain",
    "latency",
    "idle",
    "growth",
    "fanin",
    "identity",
    "crowd",
    "jit",
    "feed",
    "fleet",
    "priority",
)


def main() -> None:
    """Run the parts that are named; all of them by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument(
        "--quick", action="store_true", help="small sizes and one round: does it work?"
    )
    parser.add_argument("--rounds", type=int, help="how often each contender has its turn")
    options = parser.parse_args()
    for name in options.parts or PARTS:
        if name not in PARTS:
            parser.error(f"there is no part {name}; there are {', '.join(PARTS)}")
    # As on Ctrl-C, so that everything that was started is stopped.
    for sig in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sig, signal.default_int_handler)
    about = machine.describe()
    print(about, flush=True)
    for name in options.parts or PARTS:
        print(f"\n## {name}, load average {os.getloadavg()[0]:.1f}\n", flush=True)
        part = importlib.import_module(f"benchmarks.{name}")
        sizes = dict(part.QUICK) if options.quick else {}
        if options.rounds and "rounds" in part.QUICK:
            sizes["rounds"] = options.rounds
        result = asyncio.run(part.run(**sizes))
        if not options.quick:
            results.keep(name, about, result)


if __name__ == "__main__":
    main()
