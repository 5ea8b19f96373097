"""nginx as Supabase's gateway, and as a Bot API that is never the bottleneck."""

import asyncio
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

import aiohttp

from tma_sandbox.process import Program, free_port

MISSING = "nginx is not installed; the benchmarks need it: apt-get install nginx-light"

# What Telegram answers to sendMessage, in its usual size.
_MESSAGE = {
    "message_id": 1,
    "from": {"id": 1234567890, "is_bot": True, "first_name": "Bench", "username": "bench_bot"},
    "chat": {"id": 1000001, "first_name": "Ada", "username": "ada", "type": "private"},
    "date": 1767225600,
    "text": "Lead status updated: Acme Ltd. → contacted",
}
_ME = {"id": 1234567890, "is_bot": True, "first_name": "Bench", "username": "bench_bot"}

_CONFIG = """
daemon off;
worker_processes 1;
{user}
pid {home}/pid;
error_log {home}/error.log crit;
events {{ worker_connections 2048; }}
http {{
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/a;
    uwsgi_temp_path {home}/b;
    scgi_temp_path {home}/c;
    keepalive_requests 10000000;
    keepalive_timeout 300;
    tcp_nodelay on;
    default_type application/json;
    large_client_header_buffers 4 16k;
    client_body_buffer_size 1m;
    proxy_buffers 64 16k;
    log_format arrival '$msec $uri $status';
    upstream rest {{ server 127.0.0.1:{rest}; keepalive 64; keepalive_requests 10000000; }}
    server {{
        listen 127.0.0.1:{gateway};
        access_log {home}/rest.log arrival;
        location /rest/v1/ {{
            proxy_pass http://rest/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
        location /realtime/v1/ {{
            access_log off;
            proxy_pass http://127.0.0.1:{realtime};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_read_timeout 1h;
        }}
    }}
    server {{
        listen 127.0.0.1:{deaf};
        access_log off;
        location /rest/v1/ {{
            proxy_pass http://rest/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
        location / {{ return 503; }}
    }}
    server {{
        listen 127.0.0.1:{sink};
        access_log {home}/sink.log arrival;
        location ~ /getMe$ {{ access_log off; return 200 '{me}'; }}
        location ~ /sendMessage$ {{ return 200 '{message}'; }}
    }}
}}
"""


class Nginx:
    """One nginx with a gateway (to PostgREST and Realtime) and a sink, each on its own port."""

    def __init__(self, *, rest_port: int, realtime_port: int) -> None:
        if shutil.which("nginx") is None:
            raise SystemExit(MISSING)
        self._home = Path(tempfile.mkdtemp(prefix="bench-nginx-"))
        gateway, deaf, sink = free_port(), free_port(), free_port()
        self.gateway = f"http://127.0.0.1:{gateway}"
        self.deaf_gateway = f"http://127.0.0.1:{deaf}"  # without Realtime
        self.sink = f"http://127.0.0.1:{sink}"
        config = self._home / "nginx.conf"
        config.write_text(
            _CONFIG.format(
                user="user root;" if os.geteuid() == 0 else "",
                home=self._home,
                rest=rest_port,
                realtime=realtime_port,
                gateway=gateway,
                deaf=deaf,
                sink=sink,
                me=json.dumps({"ok": True, "result": _ME}),
                message=json.dumps({"ok": True, "result": _MESSAGE}),
            )
        )
        self._program = Program(
            ["nginx", "-p", self._home, "-c", config, "-e", self._home / "error.log"],
            log=self._home / "log",
            owned=self._home,
        )

    @property
    def pid(self) -> int:
        """The master's process id."""
        return self._program.pid

    async def ready(self) -> None:
        """Wait until it serves. Raises RuntimeError after five seconds."""
        deadline = time.monotonic() + 5
        async with aiohttp.ClientSession() as session:
            while self._program.running and time.monotonic() < deadline:
                try:
                    async with session.get(f"{self.sink}/bot1/getMe"):
                        return
                except aiohttp.ClientError:
                    await asyncio.sleep(0.02)
        raise RuntimeError(f"nginx did not start: {self._program.log_tail()}")

    def requests(self, since: float = 0.0) -> list[tuple[float, str]]:
        """(seconds since 1970, path) of every REST request that ended after `since`."""
        return [one for one in _read(self._home / "rest.log") if one[0] >= since]

    def arrivals(self, since: float = 0.0) -> list[float]:
        """When each sendMessage was answered, in seconds since 1970, to the millisecond."""
        return [at for at, _ in _read(self._home / "sink.log") if at >= since]

    def stop(self) -> None:
        """Stop it."""
        self._program.stop()
        shutil.rmtree(self._home, ignore_errors=True)


def _read(log: Path) -> list[tuple[float, str]]:
    lines = (line.split() for line in log.read_text().splitlines())
    return [(float(words[0]), words[1]) for words in lines if len(words) == 3]
