"""Procrastinate, sending its jobs' messages. CONCURRENCY: jobs at a time (its default is 1)."""

import asyncio
import os

from procrastinate import App, PsycopgConnector

from benchmarks.queues import ENTRYPOINT, text_of
from benchmarks.workers.telegram import bot


async def main() -> None:
    """Work until SIGTERM."""
    app = App(connector=PsycopgConnector(conninfo=os.environ["PROCRASTINATE_URL"]))
    telegram = bot()

    @app.task(name=ENTRYPOINT)
    async def send(chat: int, number: int) -> None:
        await telegram.send_message(chat, text_of(chat, number))

    print("ready", flush=True)
    async with telegram, app.open_async():
        await app.run_worker_async(concurrency=int(os.environ.get("JOBS", "1")))


if __name__ == "__main__":
    asyncio.run(main())
