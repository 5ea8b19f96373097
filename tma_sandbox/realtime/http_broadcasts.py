"""Broadcasts that arrive by HTTP instead of over a websocket."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import psycopg
from aiohttp import web

from tma_sandbox.realtime.authorization import AuthorizationContext, may_write
from tma_sandbox.realtime.frames import UserBroadcast, ordered
from tma_sandbox.realtime.services import Services
from tma_sandbox.realtime.tokens import Claims, TokenError


@dataclass(frozen=True, slots=True)
class _Broadcast:
    topic: str
    payload: Any
    private: bool


async def receive_broadcasts(
    services: Services, request: web.Request, token: str | None = None
) -> web.Response:
    """Handle `POST .../api/broadcast` and `.../api/broadcast/TOPIC/events/EVENT`.

    `token` is the caller's if the gateway has exchanged it; otherwise the headers have it. Answers
    202; a broadcast that the caller may not send to a private topic is dropped, as on the real
    server.
    """
    try:
        claims = services.claims(token or _token(request))
    except TokenError:
        return web.json_response({"message": "Unauthorized"}, status=401)
    match [unquote(part) for part in request.rel_url.raw_path.rsplit("/api/", 1)[-1].split("/")]:
        case ["broadcast"]:
            messages = _batch(await _json_body(request))
        case ["broadcast", topic, "events", event]:
            messages = await _single(request, topic, event)
        case _:
            return web.json_response({"message": "Not found"}, status=404)
    if messages is None:
        return web.json_response({"errors": {"messages": ["is invalid"]}}, status=422)
    for message in messages:
        if await _permitted(services, message, claims, request):
            services.channels.broadcast(message.topic, message.payload, private=message.private)
    return web.Response(status=202)


def _token(request: web.Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token
    return request.headers.get("apikey", "")


async def _json_body(request: web.Request) -> Any:
    try:
        return await request.json()
    except json.JSONDecodeError:
        return None


def _batch(body: Any) -> list[_Broadcast] | None:
    found = body.get("messages") if isinstance(body, dict) else None
    messages = []
    for message in found if isinstance(found, list) else ():
        match message:
            case {"topic": str(topic), "event": str(event), "payload": dict(payload)}:
                private = message.get("private") is True
                messages.append(_Broadcast(topic, _payload(event, payload), private))
            case _:
                return None
    return messages or None


async def _single(request: web.Request, topic: str, event: str) -> list[_Broadcast] | None:
    private = request.query.get("private") == "true"
    if request.content_type == "application/octet-stream":
        data = UserBroadcast(event, is_json=False, data=await request.read())
        return [_Broadcast(topic, data, private)]
    payload = await _json_body(request)
    if not isinstance(payload, dict):
        return None
    return [_Broadcast(topic, _payload(event, payload), private)]


def _payload(event: str, payload: dict[str, Any]) -> dict[str, Any]:
    return {"event": event, "payload": ordered(payload), "type": "broadcast"}


async def _permitted(
    services: Services, message: _Broadcast, claims: Claims, request: web.Request
) -> bool:
    if not message.private:
        return True
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        context = AuthorizationContext(message.topic, claims, headers)
        return await may_write(services.database, context)
    except psycopg.OperationalError:
        return False
