"""The JSON objects that the Bot API answers with."""

from typing import Any

from tma_sandbox.botapi.sent import SentMessage

Answer = dict[str, Any]


def ok(result: Any) -> Answer:
    """The answer to a call that was done."""
    return {"ok": True, "result": result}


def error(status: int, description: str) -> Answer:
    """The answer to a call that was refused."""
    return {"ok": False, "error_code": status, "description": description}


def message_object(message: SentMessage) -> Answer:
    """The Message object that the bot gets back, as the message is now."""
    answer = {
        "message_id": message["message_id"],
        "from": bot_object(message["bot_id"]),
        "chat": _chat(message["chat_id"]),
        "date": int(message["received_at"]),
        "text": message["text"],
    }
    if message["edited_at"] is not None:
        answer["edit_date"] = int(message["edited_at"])
    if message["message_thread_id"]:
        answer["message_thread_id"] = message["message_thread_id"]
        answer["is_topic_message"] = True
    if message["protect_content"]:
        answer["has_protected_content"] = True
    if message["entities"]:
        answer["entities"] = message["entities"]
    if "inline_keyboard" in (message["reply_markup"] or {}):
        answer["reply_markup"] = message["reply_markup"]
    if message["link_preview_options"]:
        answer["link_preview_options"] = message["link_preview_options"]
    return answer


def bot_object(bot_id: int) -> Answer:
    """The User object of a bot."""
    return {
        "id": bot_id,
        "is_bot": True,
        "first_name": "Local bot",
        "username": f"local_{bot_id}_bot",
    }


def _chat(chat_id: int) -> Answer:
    if chat_id > 0:
        return {"id": chat_id, "type": "private", "first_name": "User"}
    kind = "supergroup" if str(chat_id).startswith("-100") else "group"
    return {"id": chat_id, "type": kind, "title": "Group"}
