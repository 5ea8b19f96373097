"""What every queue's functions answer: claimed rows with their tokens, and what a sweep found."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from realtime_bridge.base import Unreadable
from realtime_bridge.model import Recovered


class Token(BaseModel):
    """Whose row a claimed one is: enough to settle it, whatever else is in it."""

    model_config = ConfigDict(frozen=True)

    id: int
    attempt: int


def _first(value: Any) -> Any:
    """PostgREST gives one row as a list of one."""
    return value[0] if isinstance(value, list) and value else value


ROWS: TypeAdapter[list[Any]] = TypeAdapter(list[Any])
SWEPT: TypeAdapter[Recovered] = TypeAdapter(Annotated[Recovered, BeforeValidator(_first)])


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
