"""Phoenix messages and their two wire formats: JSON objects (1.0.0) and JSON arrays (2.0.0)."""

import json
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, Protocol

_USER_PUSH = 3  # a client's broadcast, as realtime-js writes it in 2.0.0
_USER_BROADCAST = 4  # the same, sent to the other clients


class Json(str):
    """JSON text that goes into a frame unchanged."""

    __slots__ = ()


class FrameError(ValueError):
    """A frame is not a Phoenix message."""


@dataclass(frozen=True, slots=True)
class Message:
    """One event on one topic. `join_ref` is the `ref` of the join that it belongs to."""

    topic: str
    event: str
    payload: Any
    ref: str | None = None
    join_ref: str | None = None

    def reply(self, status: Literal["ok", "error"], response: Any) -> "Message":
        """Answer this message."""
        payload = {"status": status, "response": response}
        return Message(self.topic, "phx_reply", payload, self.ref, self.join_ref)


@dataclass(frozen=True, slots=True)
class UserBroadcast:
    """A broadcast whose payload the server forwards as bytes without reading it."""

    event: str
    is_json: bool
    data: bytes


class Codec(Protocol):
    """One wire format."""

    def encode(self, message: Message) -> str | bytes | None:
        """Encode a message; None if this format cannot carry it."""
        ...

    def decode(self, data: str | bytes) -> Message:
        """Decode a client's frame. Raises FrameError."""
        ...


def codec(version: str) -> Codec | None:
    """Return the wire format for a client's `vsn`; None for an unknown one."""
    if version.startswith("1.0."):
        return _Objects()
    if version.startswith("2.0."):
        return _Arrays()
    return None


def encode(value: Any) -> str:
    """Encode JSON as the real server does: compact, with `Json` fragments unchanged.

    >>> encode({"data": Json('{"id": 2}'), "ids": [7], "café": None})
    '{"data":{"id": 2},"ids":[7],"café":null}'
    """
    match value:
        case Json():
            return str(value)
        case dict():
            return "{" + ",".join(f"{_text(k)}:{encode(v)}" for k, v in value.items()) + "}"
        case list() | tuple():
            return "[" + ",".join(map(encode, value)) + "]"
        case _:
            return _text(value)


def ordered(value: Any) -> Any:
    """Sort the keys at every level: the real server's maps do not keep the client's order.

    >>> ordered({"type": "x", "event": [{"b": 1, "a": 2}]})
    {'event': [{'a': 2, 'b': 1}], 'type': 'x'}
    """
    match value:
        case dict():
            return {key: ordered(value[key]) for key in sorted(value)}
        case list():
            return [ordered(item) for item in value]
        case _:
            return value


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _parse(data: str | bytes) -> Any:
    def refuse(word: str) -> NoReturn:
        raise ValueError(word)  # NaN and Infinity are valid only in Python's JSON

    try:
        value = json.loads(data, parse_constant=refuse)
        encode(value).encode()  # a lone surrogate could not be sent on
    except (ValueError, RecursionError) as error:
        raise FrameError("not JSON") from error
    return value


def _message(topic: Any, event: Any, payload: Any, ref: Any, join_ref: Any) -> Message:
    if not isinstance(topic, str) or not isinstance(event, str):
        raise FrameError("a message needs a topic and an event")
    return Message(topic, event, payload, ref, join_ref)


class _Objects:
    """1.0.0: `{"ref", "event", "payload", "topic"}`, without the join's ref."""

    def encode(self, message: Message) -> str | None:
        payload = message.payload
        if isinstance(payload, UserBroadcast):
            if not payload.is_json:
                return None
            data = Json(payload.data.decode())
            payload = {"event": payload.event, "payload": data, "type": "broadcast"}
        frame = {
            "ref": message.ref,
            "event": message.event,
            "payload": payload,
            "topic": message.topic,
        }
        return encode(frame)

    def decode(self, data: str | bytes) -> Message:
        value = _parse(data)
        match value:
            case {"topic": topic, "event": event, "payload": payload, "ref": ref}:
                return _message(topic, event, payload, ref, value.get("join_ref"))
            case _:
                raise FrameError("expected an object of topic, event, payload and ref")


class _Arrays:
    """2.0.0: `[join_ref, ref, topic, event, payload]`; clients' broadcasts are binary frames."""

    def encode(self, message: Message) -> str | bytes:
        if isinstance(message.payload, UserBroadcast):
            return self._user_broadcast(message.topic, message.payload)
        return encode(
            [message.join_ref, message.ref, message.topic, message.event, message.payload]
        )

    def decode(self, data: str | bytes) -> Message:
        if isinstance(data, bytes):
            return self._user_push(data)
        match _parse(data):
            case [join_ref, ref, topic, event, payload, *_]:
                return _message(topic, event, payload, ref, join_ref)
            case _:
                raise FrameError("expected an array of five")

    @staticmethod
    def _user_broadcast(topic: str, broadcast: UserBroadcast) -> bytes:
        parts = topic.encode(), broadcast.event.encode()
        header = [_USER_BROADCAST, *map(len, parts), 0, int(broadcast.is_json)]
        return bytes(header) + b"".join(parts) + broadcast.data

    @staticmethod
    def _user_push(data: bytes) -> Message:
        if len(data) < 7 or data[0] != _USER_PUSH:  # noqa: PLR2004 - the header's size
            raise FrameError("unknown kind of binary frame")
        *sizes, encoding = data[1:7]
        at, fields = 7, []
        for size in sizes:
            fields.append(data[at : at + size])
            at += size
        try:
            join_ref, ref, topic, event, _metadata = (field.decode() for field in fields)
        except UnicodeDecodeError as error:
            raise FrameError("not UTF-8") from error
        broadcast = UserBroadcast(event, bool(encoding), data[at:])
        if broadcast.is_json:
            _parse(broadcast.data)
        return Message(topic, "broadcast", broadcast, ref or None, join_ref or None)
