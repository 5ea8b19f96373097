"""Fixes: lines to paste, written for the project at hand."""

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from realtime_bridge.commands.check.finding import Fix, Where
from realtime_bridge.credentials import SECRET, is_signed_with, secret_of
from realtime_bridge.database import migration_of, schema_parts

_HOSTED = ".supabase.co"
_BOTFATHER = (
    "take the token from BotFather (https://t.me/BotFather: /mybots > the bot > API Token) and set "
    "BOT_TOKEN"
)
_REGISTER = "restart `realtime-bridge run` with this BOT_TOKEN: its start registers the bot"
# The migrations that say who may write and read.
_RULES = ("_tma_user_id.sql", "_tma_events_access.sql")
_NO_SECRET = (
    "use what this project trusts: an sb_secret_ key; or a signing key of your own, which somebody "
    "who may administer the project imports (dashboard: Project Settings > JWT Keys), with "
    "`realtime-bridge token --signing-key FILE`; or, if the project still has a JWT secret, that "
    f"one as {SECRET}"
)
_OTHERWISE = (
    "Or use a key that the project knows: an sb_secret_ key, or what `realtime-bridge token` "
    "prints when it is given another signing key or the JWT secret."
)
_IMPORT = (
    "somebody who may administer the project: import the {key} in the dashboard (Project Settings "
    "> JWT Keys: a standby key, from an existing private key), and try again after ten minutes, in "
    "which gateways keep the old list. It may stay a standby key; revoked keys verify nothing. "
    f"{_OTHERWISE}"
)
_ADD = (
    "whoever runs this Supabase: give it the {key}. `npx supabase start`: in the file that "
    "auth.signing_keys_path of supabase/config.toml names, then stop and start it. Self-hosted: "
    "its public half in JWT_JWKS of .env, for PostgREST and Realtime, then docker compose up -d. "
    f"`realtime-bridge local`: --signing-keys FILE. {_OTHERWISE}"
)
_ADD_TO_REALTIME = (
    "whoever runs this Supabase: PostgREST knows the signing key {key}, and Realtime does not. "
    "Self-hosted: let the service realtime in docker-compose.yml have API_JWT_JWKS, with the "
    "public half of the key, then docker compose up -d. Until then messages wait for the sweep."
)


@dataclass(frozen=True, slots=True)
class Setting:
    """Where one setting came from, which is where it is to be changed."""

    name: str
    env_file: Path | None
    in_environment: bool

    def assignment(self, value: str) -> str:
        """A shell line that sets it; what comes later in an env file wins."""
        if self.in_environment:
            return f'export {self.name}="{value}"'
        return f'echo "{self.name}={value}" >> {self.env_file or ".env"}'


class Fixes:
    """Writes the fixes for one project, given its settings as they were read."""

    def __init__(
        self,
        values: Mapping[str, str | None],
        env_file: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._values = values
        self._env_file = env_file
        self._environ = os.environ if environ is None else environ
        url = _parts(values.get("SUPABASE_URL") or "")
        self._host = (url and url.hostname) or ""

    @property
    def hosted(self) -> bool:
        """Whether the project is one of supabase.com's."""
        return self._host.endswith(_HOSTED)

    @property
    def has_anon_key(self) -> bool:
        """Whether there is something to show to the gateway."""
        return bool(self._values.get("SUPABASE_ANON_KEY"))

    def settings(self, name: str) -> Fix:
        """One setting is missing or wrong."""
        if name == "SUPABASE_KEY":
            return self.key()
        if name == "BOT_TOKEN":
            return Fix(Where.PERSON, _BOTFATHER)
        if not name.isupper():
            return self._settings_file()
        return Fix(Where.PERSON, f"change it in {self._env_file or '.env'}; see docs/settings.md")

    def _settings_file(self) -> Fix:
        """The env file itself is of no use."""
        file = self._env_file or Path(".env")
        if file.name == ".env.local" and not file.exists():
            option = "" if str(file) == file.name else f" --env-file {shlex.quote(str(file))}"
            return Fix(Where.SHELL, f"realtime-bridge local{option}")
        return Fix(
            Where.PERSON,
            f"fix {file}, name another file with --env-file, or set its settings in the "
            "environment; see docs/settings.md",
        )

    def key(self) -> Fix:
        """The key is missing, of the wrong kind, or refused."""
        if self._values.get(SECRET) or self._values.get(f"{SECRET}_FILE"):
            file = f" --env-file {self._env_file}" if self._env_file else ""
            line = self._setting("SUPABASE_KEY").assignment(f"$(realtime-bridge token{file})")
            return Fix(Where.SHELL, line)
        where = "the dashboard (Project Settings > API Keys)" if self.hosted else "supabase status"
        return Fix(
            Where.PERSON,
            f"set SUPABASE_KEY to the sb_secret_ or service_role key that {where} shows, or mint "
            f"one of less rights: run `realtime-bridge token` with {SECRET} set, or with "
            "--signing-key where the project has no JWT secret",
        )

    @property
    def signed_with_the_secret(self) -> bool:
        """Whether the key in use is what `realtime-bridge token` would print again."""
        try:
            secret = secret_of(self._values)
        except ValueError:
            return False
        return is_signed_with(self._values.get("SUPABASE_KEY") or "", secret)

    def signing_key(self, key_id: str | None) -> Fix:
        """The project does not know the key that signed SUPABASE_KEY."""
        named = f"signing key {key_id}" if key_id else "signing key"
        if self.hosted:
            return Fix(Where.PERSON, _IMPORT.format(key=named))
        return Fix(Where.PERSON, _ADD.format(key=named))

    def no_jwt_secret(self) -> Fix:
        """The project does not trust tokens that its JWT secret signed, or has another one."""
        return Fix(Where.PERSON, _NO_SECRET)

    def signing_key_of_realtime(self, key_id: str) -> Fix:
        """PostgREST knows the key that signed SUPABASE_KEY, and Realtime does not."""
        if self.hosted:
            return Fix(Where.PERSON, _IMPORT.format(key=f"signing key {key_id}"))
        return Fix(Where.PERSON, _ADD_TO_REALTIME.format(key=key_id))

    def anon_key(self) -> Fix:
        """The gateway does not know our own JWT."""
        why = "the gateway lets in its own keys only, and a tma_bridge JWT goes behind one"
        return self._public_key(why)

    def mini_app_key(self) -> Fix:
        """`check` cannot do what Mini Apps do."""
        return self._public_key("the one that the Mini App has")

    def _public_key(self, why: str) -> Fix:
        where = "the dashboard (Project Settings > API Keys)" if self.hosted else "supabase status"
        text = f"set SUPABASE_ANON_KEY to the publishable or anon key that {where} shows: {why}"
        return Fix(Where.PERSON, text)

    def bot_token(self) -> Fix:
        """Telegram does not know the bot."""
        return Fix(Where.PERSON, _BOTFATHER)

    def other_bot(self) -> Fix:
        """Bots are registered, but not the one of BOT_TOKEN."""
        return Fix(Where.PERSON, f"{_REGISTER}; or, if the Mini App is another bot's, {_BOTFATHER}")

    def old_bot_token(self) -> Fix:
        """The bot is registered, but what BOT_TOKEN signs is not taken."""
        again = self.rules().text
        return Fix(
            Where.PERSON,
            f"{_REGISTER}. If BOT_TOKEN is not the newest, {_BOTFATHER}. If it runs with it "
            "already: a proxy in front of Supabase may drop the header x-telegram-init-data, or "
            f"tma_user_id() may be another than ours, which puts it back:\n{again}",
        )

    def supabase(self) -> Fix:
        """Nobody answers."""
        if self.hosted:
            text = "check SUPABASE_URL and the network; the dashboard restores a paused project"
            return Fix(Where.PERSON, text)
        if not self._here:
            return Fix(Where.PERSON, f"start Supabase on {self._host}, or check SUPABASE_URL")
        if self._local_stack:
            return Fix(Where.SHELL, self._local_stack)
        return Fix(Where.SHELL, "npx supabase start   # or: realtime-bridge local")

    @property
    def _here(self) -> bool:
        """Whether Supabase is to run on this machine."""
        return self._host == "localhost" or self._host.startswith("127.") or self._host == "::1"

    @property
    def _local_stack(self) -> str:
        """What starts the stack of `realtime-bridge local`, where these are its settings.

        It alone plays Telegram too, at the same address.
        """
        url = _parts(self._values.get("SUPABASE_URL") or "")
        telegram = _parts(self._values.get("TELEGRAM_API_URL") or "")
        if url is None or telegram is None or url.netloc != telegram.netloc:
            return ""
        port = url.netloc.rpartition(":")[2] if ":" in url.netloc else "80"
        file = f" --env-file {shlex.quote(str(self._env_file))}" if self._env_file else ""
        return f"realtime-bridge local --port {port}{file}"

    def address(self) -> Fix:
        """Somebody answers, but not Supabase."""
        return Fix(
            Where.PERSON,
            "set SUPABASE_URL to the project's address, such as https://abcdefgh.supabase.co",
        )

    def migrations(self) -> Fix:
        """The schema is not there, or is of an older release."""
        copy = "realtime-bridge migrations supabase/migrations"
        if self.hosted:
            return Fix(Where.SHELL, f"{copy} && npx supabase db push --remote")
        if self._values.get("DATABASE_URL"):
            push = 'npx supabase db push --remote="$DATABASE_URL"'
            return Fix(Where.SHELL, f"{self._sourced()}{copy} && {push}")
        return Fix(Where.SHELL, f"{copy} && npx supabase db push")  # of `npx supabase start`

    def functions(self, names: Sequence[str]) -> Fix:
        """Functions of ours are gone although their migrations were applied."""
        return self._reapplied(path.name for name in names if (path := migration_of(name)))

    def rules(self) -> Fix:
        """Policies or what they ask are not as the migrations made them."""
        return self._reapplied(part.file for part in schema_parts() if part.file.endswith(_RULES))

    def _reapplied(self, names: Iterable[str]) -> Fix:
        files = set(names)
        paths = " ".join(f'-f "$(realtime-bridge migrations)/{name}"' for name in sorted(files))
        return Fix(Where.SHELL, f'{self._sourced()}psql -v ON_ERROR_STOP=1 "$DATABASE_URL" {paths}')

    def realtime(self) -> Fix:
        """Realtime does not answer, or answers and is deaf."""
        if self.hosted:
            return Fix(
                Where.PERSON,
                "dashboard: Project Settings > Realtime must be enabled; if it is, restart the "
                "project (Project Settings > General)",
            )
        return Fix(Where.SHELL, "docker restart $(docker ps -aqf name=realtime)")

    def telegram(self) -> Fix:
        """Telegram does not answer."""
        url = self._values.get("TELEGRAM_API_URL") or "https://api.telegram.org"
        return Fix(
            Where.SHELL, f"curl -sS {url}   # says what is between this machine and Telegram"
        )

    def clock(self) -> Fix:
        """This machine's time of day is wrong."""
        return Fix(Where.SHELL, "sudo timedatectl set-ntp true")

    def _sourced(self) -> str:
        """What makes DATABASE_URL known to the shell, where only the env file knows it."""
        if "DATABASE_URL" in self._environ or not self._values.get("DATABASE_URL"):
            return ""
        file = str(self._env_file or ".env")
        return f". {file if '/' in file else f'./{file}'} && "

    def _setting(self, name: str) -> Setting:
        return Setting(name, self._env_file, name in self._environ)


def _parts(url: str) -> SplitResult | None:
    """The parts of an address; None for what is no address."""
    try:
        return urlsplit(url)
    except ValueError:  # http://[
        return None


def sql(*statements: str) -> Fix:
    """Statements for the SQL editor, or for psql."""
    return Fix(Where.SQL, "\n".join(statements))
