"""What every queue's functions answer: claimed rows with their tokens, and what a sweep found."""

from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from realtime_bridge.base import Unreadable


class Token(BaseModel):
    """Whose row a claimed one is: enough to settle it, whatever else is in it."""

    model_config = ConfigDict(frozen=True)

    id: int
    attempt: int


ROWS: TypeAdapter[list[Any]] = TypeAdapter(list[Any])


def token_of(row: Any) -> Token | Unreadable:
    """Say whose a claimed row is."""
    try:
        return Token.model_validate(row)
    except ValidationError as error:
        return Unreadable(f"a claimed row has no {wrong_fields(error) or 'columns'}")


def wrong_fields(error: ValidationError) -> str:
    """Name the fields that are wrong, without their values."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return ", ".join(dict.fromkeys(str(detail["loc"][0]) for detail in found if detail["loc"]))
