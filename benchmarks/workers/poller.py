"""What this project replaces: poll every three seconds, send pending rows, record the result."""

import asyncio
import os
from typing import Any

from supabase import acreate_client

from benchmarks.queues import text_of
from benchmarks.workers.telegram import bot

SECONDS = 3.0


async def main() -> None:
    """Work until SIGTERM."""
    client = await acreate_client(os.environ["SUPABASE_URL"], os.environ["SUPABASE_KEY"])
    print("ready", flush=True)
    async with bot() as telegram:
        while True:
            pending = await (
                client.table("tma_events").select("*").eq("status", "pending").order("id").execute()
            )
            rows: list[Any] = pending.data
            for row in rows:
                number = int(row["payload"]["new_status"].removeprefix("seq"))
                sent = await telegram.send_message(
                    row["telegram_id"], text_of(row["telegram_id"], number)
                )
                done = {"status": "delivered", "message_id": sent.message_id}
                done |= {"settled_at": "now", "delivered_at": "now"}
                await client.table("tma_events").update(done).eq("id", row["id"]).execute()
            await asyncio.sleep(SECONDS)


if __name__ == "__main__":
    asyncio.run(main())
