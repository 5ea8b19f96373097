"""The parameters of `sendMessage` and `editMessageText`, validated as Telegram does."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tma_sandbox.botapi.markup import Entity, MarkupError, parse_html, utf16_length

_LONGEST = 4096
_PREVIEW_FLAGS = ("is_disabled", "prefer_small_media", "prefer_large_media", "show_above_text")
# Telegram requires a dot in the host: it refuses a button to http://localhost.
_URL = re.compile(r"(tg|ton)://\S+|(https?://)?[^\s/.]+(\.[^\s/.]+)+([/?#:]\S*)?", re.IGNORECASE)


class RefusedError(Exception):
    """Telegram answers 400, with this text as the description."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that Telegram accepts."""

    chat_id: int
    text: str
    entities: list[Entity]
    raw: str
    parse_mode: str | None
    reply_markup: dict[str, Any] | None
    link_preview_options: dict[str, Any] | None
    disable_notification: bool
    protect_content: bool
    message_thread_id: int | None


def draft(fields: Mapping[str, Any]) -> Draft:
    """Build the message from the parameters of a request. Raises RefusedError."""
    chat_id = _chat(fields.get("chat_id"))
    raw = fields.get("text")
    if not isinstance(raw, str) or not raw.strip():
        raise RefusedError("Bad Request: message text is empty")
    parse_mode = fields.get("parse_mode") or None
    text, entities = _trimmed(*_parsed(raw, parse_mode, fields.get("entities")))
    if not text:
        raise RefusedError("Bad Request: message text is empty")
    if utf16_length(text) > _LONGEST:
        raise RefusedError("Bad Request: message is too long")
    markup = _markup(fields.get("reply_markup"), chat_id)
    return Draft(
        chat_id,
        text,
        entities,
        raw,
        parse_mode,
        markup,
        _preview(fields.get("link_preview_options")),
        disable_notification=_flag(fields.get("disable_notification")),
        protect_content=_flag(fields.get("protect_content")),
        message_thread_id=_identifier(fields.get("message_thread_id")),
    )


def edit(fields: Mapping[str, Any]) -> tuple[int, Draft]:
    """Return the id of the message to edit and its new content. Raises RefusedError."""
    message_id = _identifier(fields.get("message_id"))
    if message_id is None:
        raise RefusedError("Bad Request: message identifier is not specified")
    content = draft(fields)
    if content.reply_markup is not None and "inline_keyboard" not in content.reply_markup:
        raise RefusedError("Bad Request: inline keyboard expected")
    return message_id, content


def _chat(value: Any) -> int:
    if value in (None, ""):
        raise RefusedError("Bad Request: chat_id is empty")
    try:
        chat_id = int(str(value))
    except ValueError:
        raise RefusedError("Bad Request: chat not found") from None
    if not 0 < abs(chat_id) < 2**52:
        raise RefusedError("Bad Request: chat not found")
    return chat_id


def _parsed(raw: str, parse_mode: str | None, entities: Any) -> tuple[str, list[Entity]]:
    if parse_mode is None:
        return raw, _json_field(
            entities, list, "Bad Request: can't parse entities JSON object"
        ) or []
    if parse_mode.lower() != "html":
        # Markdown is not implemented; accepting it unchecked would hide errors.
        raise RefusedError(
            f"Bad Request: unsupported parse_mode (the local Bot API reads HTML, not {parse_mode})"
        )
    try:
        return parse_html(raw)
    except MarkupError as error:
        raise RefusedError(f"Bad Request: can't parse entities: {error}") from None


def _trimmed(text: str, entities: list[Entity]) -> tuple[str, list[Entity]]:
    """Strip the text as Telegram does, and move the entities accordingly."""
    trimmed = text.strip()
    cut = utf16_length(text) - utf16_length(text.lstrip())
    end = utf16_length(trimmed)
    moved = []
    for entity in entities:
        first = max(entity["offset"] - cut, 0)
        last = min(entity["offset"] - cut + entity["length"], end)
        if first < last:
            moved.append({**entity, "offset": first, "length": last - first})
    return trimmed, moved


def _flag(value: Any) -> bool:
    """A flag among the parameters; Telegram takes what it does not understand for false."""
    return str(value).strip().lower() in ("true", "yes", "1")


def _identifier(value: Any) -> int | None:
    """An id of a message or topic; Telegram ignores what cannot be one."""
    text = str(value).strip()
    if not re.fullmatch(r"\d{1,10}", text, re.ASCII):
        return None
    return int(text) if 0 < int(text) < 2**31 else None


def _preview(value: Any) -> dict[str, Any] | None:
    options: dict[str, Any] | None = _json_field(
        value,
        dict,
        "Bad Request: object expected as link preview options",
        "Bad Request: can't parse link preview options JSON object",
    )
    for name, given in (options or {}).items():
        if name in _PREVIEW_FLAGS and not isinstance(given, bool):
            raise RefusedError(f'Bad Request: field "{name}" must be of type Boolean')
        if name == "url" and not isinstance(given, str):
            raise RefusedError('Bad Request: field "url" must be of type String')
    return options


def _json_field(value: Any, kind: type, refusal: str, no_json: str | None = None) -> Any:
    """A parameter that is JSON, or its text in a form; None if it is absent."""
    if value in (None, ""):
        return None
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise RefusedError(no_json or refusal) from None
    if not isinstance(value, kind):
        raise RefusedError(refusal)
    return value


def _markup(value: Any, chat_id: int) -> dict[str, Any] | None:
    markup = _json_field(value, dict, "Bad Request: object expected as reply markup")
    if markup is None:
        return None
    for row in markup.get("inline_keyboard", []):
        if not isinstance(row, list):
            raise RefusedError(
                "Bad Request: can't parse inline keyboard: "
                'Field "inline_keyboard" must be of type Array of Arrays'
            )
        for button in row:
            _check_button(button, chat_id)
    return dict(markup)


def _check_button(button: Any, chat_id: int) -> None:
    wrong = "Bad Request: can't parse inline keyboard button: "
    if not isinstance(button, dict):
        raise RefusedError(wrong + "InlineKeyboardButton must be an Object")
    if not str(button.get("text") or "").strip():
        raise RefusedError(wrong + 'Field "text" must be of type String')
    if web_app := button.get("web_app"):
        url = str(web_app.get("url", "")) if isinstance(web_app, dict) else ""
        if not url.startswith("https://"):
            raise RefusedError(
                f"Bad Request: inline keyboard button Web App URL '{url}' is invalid: "
                "Only HTTPS links are allowed"
            )
        if chat_id < 0:
            raise RefusedError("Bad Request: BUTTON_TYPE_INVALID")
    elif "url" in button:
        url = str(button["url"])
        if not _URL.fullmatch(url):
            raise RefusedError(
                f"Bad Request: inline keyboard button URL '{url}' is invalid: Wrong HTTP URL"
            )
    elif len(button) == 1:
        raise RefusedError(wrong + "Text buttons are unallowed in the inline keyboard")
