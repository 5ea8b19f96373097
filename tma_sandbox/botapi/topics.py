"""The topics of chats: which `message_thread_id` a message may go to."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PositiveInt


class ChatTopics(BaseModel):
    """All topics of one chat; without topics it is a chat like any other."""

    model_config = ConfigDict(extra="forbid")

    chat_id: int
    threads: list[PositiveInt] = Field(max_length=1000)


class Topics:
    """Which chats have which topics; none has any at first."""

    def __init__(self) -> None:
        self._threads: dict[int, set[int]] = {}

    def set(self, values: Any) -> None:
        """Set the topics of one chat, from JSON. Raises ValueError."""
        chat = ChatTopics.model_validate(values)
        self._threads[chat.chat_id] = set(chat.threads)

    def has(self, chat_id: int, thread: int) -> bool:
        """Whether the chat has this topic."""
        return thread in self._threads.get(chat_id, ())

    def clear(self) -> None:
        """Delete the topics of all chats."""
        self._threads.clear()

    def dump(self) -> list[dict[str, Any]]:
        """The chats with topics, as JSON."""
        return [
            {"chat_id": chat_id, "threads": sorted(threads)}
            for chat_id, threads in self._threads.items()
            if threads
        ]
