"""A recipe: a whole run as a list of stages, in one TOML file.

Stages run in their order and hand artifacts on. What a kind of stage can be told is in its own file
(``pipeline/stages/``), what objectives and sources can be told in theirs (``train/objectives/``, ``train/sources/``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from seedbed.core import config
from seedbed.core.artifacts import Artifact, Library
from seedbed.core.config import Variant, setting
from seedbed.core.errors import ConfigError, NotFoundError
from seedbed.hub.catalog import catalog
from seedbed.pipeline.former_recipes import refuse_former

if TYPE_CHECKING:  # it needs torch, and comparing recipes does not
    from seedbed.pipeline.workspace import Workspace

DEFAULT = "quickstart"
Find = Callable[[str, str], Artifact | None]
"""A function from a name and a kind to the artifact of the library; None where an earlier stage makes it."""


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

    def check(self, find: Find) -> None:
        """Look for everything that the stage names, before any stage runs. Raises SeedbedError for what is missing."""

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


@dataclass
class StageWork:
    """The surroundings of a stage: the library, its own names, and what earlier stages made."""

    recipe: Recipe
    library: Library
    run: Workspace
    resume: bool
    made: dict[str, Artifact] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """The command that began the run, for reports."""
        return self.run.command

    def latest(self, kind: str) -> Artifact:
        """Return the newest artifact of a kind that an earlier stage made."""
        if found := newest(self.made, kind):
            return found
        raise ConfigError(
            f"a stage of the recipe needs {kind}",
            why=f"no stage before it makes any: {', '.join(self.made) or 'it is the first'}",
            fix=f"put a stage that makes {kind} before it",
        )

    def find(self, reference: str, kind: str) -> Artifact:
        """Return what a stage or the library calls so; once found, a run keeps it, whatever the name comes to mean."""
        if reference in self.made:
            return self.library.get(self.made[reference].id, kind)
        key = f"{kind} {reference}"
        return self.run.made(key, self.library) or self.run.finish(key, self.library.get(reference, kind))

    def called(self, stage: Stage) -> str:
        """Return the name of a stage's artifact: the recipe's own for its last model."""
        last = next((one for one in reversed(self.recipe.stage) if one.makes == "model"), None)
        return self.recipe.name if stage is last else f"{self.recipe.name}-{stage.title}"

    def folder(self, stage: Stage) -> Path:
        """Return a stage's working folder."""
        return self.run.folder / stage.title

    def config(self, stage: Stage) -> dict[str, Any]:
        """Return what an artifact's manifest keeps of its making."""
        return {"recipe": config.to_dict(self.recipe), "stage": stage.title, "command": self.command}


def check_inputs(recipe: Recipe, library: Library) -> None:
    """Look for everything that the stages of a recipe name, so that nothing is missed after hours.

    Raises:
        NotFoundError: a path, or a model, corpus or pairs of the library do not exist.
        DataError: pairs that are to be read have no context.
    """
    earlier: set[str] = set()

    def find(reference: str, kind: str) -> Artifact | None:
        if reference in earlier:
            return None
        try:
            return library.get(reference, kind)
        except NotFoundError as error:
            if kind != "model" or reference not in catalog():
                raise
            raise NotFoundError(error.what, why=error.why, fix=f"run `seedbed pull {reference}` first") from error

    for stage in recipe.stage:
        stage.check(find)
        earlier.add(stage.title)


def newest(made: dict[str, Artifact], kind: str) -> Artifact | None:
    """Return the artifact of a kind that was made last."""
    return next((artifact for artifact in reversed(made.values()) if artifact.kind == kind), None)


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
    """Return a recipe's path: as given, or of one that comes with seedbed; NotFoundError where there is neither."""
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
