"""`python -m tests.chaos`: the long form of the chaos suite; exits 1 when a promise is broken."""

import asyncio
import logging
import sys
import tempfile
from pathlib import Path

import click
import structlog

from tests.chaos.report import Report
from tests.chaos.run import Plan, Run
from tests.delivery.fork_server import ForkServer

MODES = ("at_most_once", "at_least_once")


@click.command()
@click.option("--seed", default=7, show_default=True, help="Decides what goes wrong, and when.")
@click.option("--events", default=10_000, show_default=True)
@click.option("--chats", default=200, show_default=True)
@click.option("--rate", default=60.0, show_default=True, help="Events inserted per second.")
@click.option("--pace", default=1.0, show_default=True, help="Seconds between mishaps.")
@click.option("--mode", type=click.Choice(MODES), multiple=True, default=MODES, help="Both.")
def main(mode: tuple[str, ...], **plan: float) -> None:
    """Run the modes one after the other and print their tables."""
    # The local stack says that its database went away: it is being told to.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    broken = sum(chaos(Plan(mode=one, **plan)) for one in mode)
    click.echo(f"\n{broken} promises were broken" if broken else "\nevery promise held")
    sys.exit(1 if broken else 0)


def chaos(plan: Plan) -> int:
    """Do one run and tell of it; the number of broken promises."""
    logs = Path(tempfile.mkdtemp(prefix="chaos-"))
    click.echo(f"\n{plan.mode}, seed {plan.seed}; the replicas' logs are in {logs}")
    report = asyncio.run(run(plan, logs))
    click.echo(f"\n{report.table()}")
    for problem in report.problems():
        click.echo(f"BROKEN: {problem}")
    return len(report.problems())


async def run(plan: Plan, logs: Path) -> Report:
    """Do one run that shows how far it is."""
    async with ForkServer(logs) as fork_server:
        return await Run(plan, fork_server, lambda line: click.echo(f"  {line}"))()


if __name__ == "__main__":
    main()
