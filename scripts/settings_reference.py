"""Write .env.example and docs/settings.md from the Settings model, so that they cannot drift.

Run by `make reference`; a test compares the files with what this would write.
"""

import textwrap
from enum import Enum
from pathlib import Path
from typing import Any, get_args

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from realtime_bridge.settings import Settings

ROOT = Path(__file__).parent.parent
EXAMPLES = {
    "SUPABASE_URL": "https://abcdefgh.supabase.co",
    "SUPABASE_KEY": "",
    "BOT_TOKEN": "",
}


def default_of(field: FieldInfo) -> str:
    """The default as one would write it in an env file; empty where there is none."""
    value: Any = field.default
    if value is None or value is PydanticUndefined:
        return ""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def choices_of(field: FieldInfo) -> str:
    """The values that a setting may have, where they can be listed."""
    kind = field.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(str(one.value) for one in kind)
    return ", ".join(str(one) for one in get_args(kind) if isinstance(one, str))


def env_example() -> str:
    """The text of .env.example."""
    blocks = ["# Settings of realtime-bridge: copy to .env. As a table: docs/settings.md.\n"]
    for field in Settings.model_fields.values():
        name = str(field.alias)
        text = "\n".join(textwrap.wrap(field.description or "", 90))
        comment = textwrap.indent(text, "# ")
        required = field.is_required()
        line = f"{name}={EXAMPLES.get(name, default_of(field))}"
        blocks.append(f"{comment}\n{line if required else '# ' + line}\n")
    return "\n".join(blocks)


def settings_page() -> str:
    """The text of docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "All settings are environment variables; `.env` in the working directory is read as well,",
        "and a variable that is set wins over the file. For every name there is also `NAME_FILE`,",
        "the path of a file that holds the value: `BOT_TOKEN_FILE=/run/secrets/bot_token`.",
        "",
        "| name | default | what it does |",
        "|---|---|---|",
    ]
    for field in Settings.model_fields.values():
        default = "**required**" if field.is_required() else f"`{default_of(field)}`".strip("`")
        shown = default if field.is_required() or not default else f"`{default}`"
        text = (field.description or "").replace("|", "\\|")
        if (choices := choices_of(field)) and choices.split(", ")[0] not in text:
            text += f" One of: {choices}."
        lines.append(f"| `{field.alias}` | {shown} | {text} |")
    return "\n".join(lines) + "\n"


FILES = {ROOT / ".env.example": env_example, ROOT / "docs" / "settings.md": settings_page}

if __name__ == "__main__":
    for path, text in FILES.items():
        path.write_text(text(), encoding="utf-8")
