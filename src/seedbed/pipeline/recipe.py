"""A recipe: a whole run as a list of stages, in one TOML file.

Stages run in their order and hand artifacts on. What a kind of stage can be told is in its own file
(``pipeline/stages/``), what objectives and sources can be told in theirs (``train/objectives/``, ``train/sources/``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from seedbed.core import config
from seedbed.core.artifacts import Artifact, Library
from seedbed.core.config import Variant, setting
from seedbed.core.errors import NotFoundError
from seedbed.pipeline.former_recipes import refuse_former

DEFAULT = "quickstart"


class StageWork(Protocol):
    """The surroundings of a stage: the library, its own names, and what earlier stages made."""

    library: Library
    resume: bool

    @property
    def command(self) -> str:
        """The command that began the run, for reports."""

    def latest(self, kind: str) -> Artifact:
        """Return the newest artifact of a kind that an earlier stage made."""

    def find(self, reference: str, kind: str) -> Artifact:
        """Return what an earlier stage of this name made, or else the library's artifact of this name."""

    def called(self, stage: Stage) -> str:
        """Return the name of a stage's artifact."""

    def folder(self, stage: Stage) -> Path:
        """Return a stage's working folder."""

    def config(self, stage: Stage) -> dict[str, Any]:
        """Return what an artifact's manifest keeps of its making."""


@dataclass(frozen=True)
class Stage(Variant):
    """One step of a recipe, which makes one artifact."""

    home = "seedbed.pipeline.stages"
    makes: ClassVar[str]
    """The kind of its artifact."""

    name: str = setting("", "what other stages and --set call it; its kind unless given")

    @property
    def title(self) -> str:
        """The stage's name, or its kind."""
        return self.name or self.kind

    def make(self, work: StageWork) -> Artifact:
        """Do the work. Raises SeedbedError; a training stage that is interrupted keeps a checkpoint."""
        raise NotImplementedError


@dataclass(frozen=True)
class Recipe:
    """A whole run."""

    name: str = setting("recipe", "what the model will be called")
    stage: tuple[Stage, ...] = setting((), "the stages, in their order")

    def __post_init__(self) -> None:
        titles = [stage.title for stage in self.stage]
        if not titles:
            raise ValueError("a recipe has at least one [[stage]]")
        if twice := sorted({title for title in titles if titles.count(title) > 1}):
            raise ValueError(f"two stages are called {twice[0]}: give one a name of its own")

    def called(self, stage: Stage) -> str:
        """Return the name of a stage's artifact: the recipe's own for its last model."""
        last = next((one for one in reversed(self.stage) if one.makes == "model"), None)
        return self.name if stage is last else f"{self.name}-{stage.title}"


def load_recipe(path: Path | str | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe: a .toml file, or the name of one that comes with seedbed (quickstart unless given).

    Args:
        overrides: ``key=value``; a stage's settings by its name, such as ``pretrain.steps=100``.

    Raises:
        NotFoundError: there is no such recipe.
        ConfigError: it is in the former form (the error has the new text), or as :func:`seedbed.core.config.load`.
    """
    found = recipe_path(str(path or DEFAULT))
    refuse_former(found)
    return config.load(Recipe, found, overrides=overrides)


def recipe_path(name: str) -> Path:
    """Return a recipe's path: as given, or that of one that comes with seedbed.

    Raises:
        NotFoundError: there is neither.
    """
    package = Path(__file__).resolve().parent.parent
    homes = [package / "recipes", package.parent.parent / "recipes"]
    shipped = [path for home in homes if home.is_dir() for path in sorted(home.glob("*.toml"))]
    for path in (Path(name), *(path for path in shipped if path.stem == name)):
        if path.is_file():
            return path
    known = ", ".join(sorted({path.stem for path in shipped}))
    raise NotFoundError(
        f"there is no recipe {name!r}", why=f"no such file; the ones that come with seedbed are {known}", fix="check it"
    )


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """List the keys in which two recipes (as tables) differ; see :func:`flat`."""
    before, after = flat(one), flat(other)
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of a recipe (as a table) by dotted keys; a stage goes by its name."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        elif key == "stage" and isinstance(value, list):
            for stage in value:
                found |= flat(stage, f"{stage.get('name') or stage['kind']}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
