"""Reads a Dockerfile, and does in a folder what its stages would do to a root."""

import json
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Instruction:
    """One instruction; continued lines are joined, comments are gone."""

    word: str
    text: str

    @property
    def words(self):
        """The arguments in exec form, as a list."""
        return json.loads(self.text[self.text.index("[") :])


def read(path):
    """The instructions of a Dockerfile."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    for line in filter(str.strip, joined.splitlines()):
        word, _, text = line.strip().partition(" ")
        yield Instruction(word.upper(), " ".join(text.split()) if word == "RUN" else text.strip())


@dataclass
class Image:
    """What a build leaves: a root folder, an environment, and how it is started."""

    root: Path
    environment: dict[str, str]
    user: str | None = None
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)

    def path(self, text):
        """A path of the image, here."""
        return str(self.root / text.lstrip("/"))


class Builder:
    """Carries out instructions. Paths under /opt and /src are those below the root folder."""

    def __init__(self, context, root, environment):
        self._context = context
        self._image = Image(root, dict(environment))
        self._workdir = root

    def build(self, instructions):
        """Carry out all of them; return what is there at the end."""
        for one in instructions:
            getattr(self, one.word.lower())(one)
        return self._image

    def here(self, text):
        """A text of the Dockerfile with its absolute paths moved below the root."""
        for top in ("/opt/", "/src"):
            text = text.replace(top, str(self._image.root) + top)
        return text

    def from_(self, _):
        """A new stage; both are made of the same Python, and share the root here."""

    def __getattr__(self, name):
        if name == "from":
            return self.from_
        raise AttributeError(f"the Dockerfile uses {name.upper()}, which this does not know")

    def workdir(self, one):
        self._workdir = Path(self.here(one.text))
        self._workdir.mkdir(parents=True)

    def copy(self, one):
        words = shlex.split(one.text)
        if words[0].startswith("--from="):
            assert words[1] == words[2]  # between stages that share a root there is nothing to do
            return
        *sources, target = words
        for source in sources:
            origin = self._context / source
            destination = self._workdir / target
            if origin.is_dir():
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(origin, destination, ignore=ignore)
            else:
                destination.mkdir(parents=True, exist_ok=True)
                shutil.copy(origin, destination)

    def run(self, one):
        if one.text.startswith("useradd "):
            return  # this machine keeps the users it has
        subprocess.run(
            ["bash", "-ec", self.here(one.text)],
            check=True,
            cwd=self._workdir,
            env=self._image.environment,
        )

    def env(self, one):
        for word in shlex.split(one.text):
            name, _, value = word.partition("=")
            value = self.here(value).replace("$PATH", self._image.environment["PATH"])
            self._image.environment[name] = value

    def user(self, one):
        self._image.user = one.text

    def expose(self, one):
        assert one.text == self._image.environment["HTTP_PORT"]

    def healthcheck(self, one):
        self._image.health = one.words

    def entrypoint(self, one):
        self._image.entrypoint = one.words

    def cmd(self, one):
        self._image.command = one.words
