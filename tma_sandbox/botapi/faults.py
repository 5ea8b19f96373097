"""Scripted faults: what the Bot API answers instead of doing the call."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

When = Literal["before_accept", "after_accept"]

_DESCRIPTIONS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden: bot was blocked by the user",
    404: "Not Found",
    409: "Conflict: terminated by other getUpdates request; "
    "make sure that only one bot instance is running",
    500: "Internal Server Error",
    502: "Bad Gateway",
}


class Match(BaseModel):
    """Which requests a fault is for: all given conditions must hold."""

    model_config = ConfigDict(extra="forbid")

    chat_id: int | None = None
    text: str | None = Field(None, description="part of the raw text")
    bot_id: int | None = None


class Fault(BaseModel):
    """One scripted answer.

    Exactly one of `status`, `hang` and `drop`, each with or without a `latency` in seconds, or only
    a latency. With `before_accept` the message is not stored, with `after_accept` it is. Deleting
    the faults drops the connection of a hanging request.
    """

    model_config = ConfigDict(extra="forbid")

    status: int | None = Field(None, ge=300, le=599)
    description: str | None = None
    retry_after: int | None = Field(None, ge=0)
    parameters: dict[str, Any] = {}
    html: bool = Field(False, description="answer with a proxy's HTML page")
    hang: When | None = None
    drop: When | None = None
    latency: float = Field(0, ge=0)
    method: str = Field("sendMessage", description="the method it is for; * for any")
    match: Match = Match()
    times: Annotated[int, Field(ge=1)] | None = Field(1, description="null: until deleted")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = [self.status, self.hang, self.drop]
        given = sum(kind is not None for kind in kinds)
        if given > 1 or (given == 0 and not self.latency):
            raise ValueError("a fault needs exactly one of status, hang, drop, or only a latency")
        return self

    @property
    def stores(self) -> bool:
        """Whether the message is accepted although the caller gets no answer."""
        return "after_accept" in (self.hang, self.drop)

    def body(self) -> dict[str, Any]:
        """The JSON answer of a fault with a status."""
        status = self.status or 500
        parameters = dict(self.parameters)
        description = self.description or _DESCRIPTIONS.get(status, "Error")
        if status == 429:  # noqa: PLR2004 - Too Many Requests
            seconds = parameters.setdefault("retry_after", self.retry_after or 1)
            description = self.description or f"Too Many Requests: retry after {seconds}"
        answer: dict[str, Any] = {"ok": False, "error_code": status, "description": description}
        return answer | ({"parameters": parameters} if parameters else {})


_LIST = TypeAdapter(list[Fault])


class Script:
    """The pending faults; the first that matches a request is used."""

    def __init__(self) -> None:
        self.waiting: list[Fault] = []

    def add(self, faults: Any) -> None:
        """Append faults from JSON, one object or a list. Raises ValueError for a bad one."""
        self.waiting += _LIST.validate_python(faults if isinstance(faults, list) else [faults])

    def take(self, method: str, bot_id: int, chat_id: Any, text: str) -> Fault | None:
        """Return the first fault that matches this request, and count it as used."""
        for fault in self.waiting:
            if _fits(fault, method, bot_id, chat_id, text):
                if fault.times is not None:
                    fault.times -= 1
                    if not fault.times:
                        self.waiting.remove(fault)
                return fault
        return None

    def dump(self) -> list[dict[str, Any]]:
        """The pending faults, as JSON."""
        return [fault.model_dump(exclude_defaults=True) for fault in self.waiting]


def _fits(fault: Fault, method: str, bot_id: int, chat_id: Any, text: str) -> bool:
    match = fault.match
    return (
        fault.method.lower() in ("*", method.lower())
        and match.bot_id in (None, bot_id)
        and (match.chat_id is None or str(match.chat_id) == str(chat_id))
        and (match.text is None or match.text in text)
    )
