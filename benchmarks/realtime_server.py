"""The sandbox's Realtime in its own process: `python -m benchmarks.realtime_server PORT`.

DATABASE_URL (of a superuser) and JWT_SECRET come from the environment.
"""

import asyncio
import os
import sys

from aiohttp import web

from tma_sandbox.realtime import Delays, LocalRealtime


async def serve(port: int) -> None:
    """Serve until SIGTERM."""
    realtime = LocalRealtime(
        dsn=os.environ["DATABASE_URL"],
        jwt_secret=os.environ["JWT_SECRET"],
        delays=Delays(cold=(0.0, 0.0)),
    )
    await realtime.start()
    app = web.Application()
    app.router.add_get("/realtime/v1/websocket", realtime.websocket)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
