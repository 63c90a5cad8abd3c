"""Strict configuration: what is refused and where it points, precedence, and the way there and back."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.core import config
from seedbed.core.config import setting
from seedbed.core.errors import ConfigError, NotFoundError


@dataclass(frozen=True)
class Source:
    path: str = setting("", "where the text is")
    weight: float = setting(1.0, "how often it is seen", at_least=0)


@dataclass(frozen=True)
class Train:
    steps: int = setting(0, "length", unit="steps", at_least=0)
    tokens: int = setting(0, "length", unit="tokens", at_least=0)
    lr: float = setting(0.1, "learning rate", at_least=0, at_most=1)
    kind: Literal["muon", "adamw"] = setting("muon", "optimizer")

    def __post_init__(self) -> None:
        if self.steps and self.tokens:
            raise ValueError("steps and tokens are both set")


@dataclass(frozen=True)
class Recipe:
    name: str = setting("x", "what it is called")
    chat: bool = setting(True, "fine-tune")
    factor: float = setting(1.0, "a number without limits")
    width: int | None = setting(None, "channels", at_least=1)
    label: str | None = setting(None, "a text that may be missing")
    train: Train = setting(Train(tokens=7), "training")
    sources: tuple[Source, ...] = setting((), "texts")
    mixers: tuple[Literal["attention", "gru"], ...] = setting(("attention",), "layers")


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def read(folder: Path, text: str, *overrides: str, **environment: str) -> Recipe:
    return config.load(Recipe, write(folder, text), overrides=overrides, environment=environment)


GOOD = """\
name = "mine"       # the name
width = 3

[train]
steps = 5
kind = "adamw"

[[sources]]
path = "a"

[[sources]]
path = "b"
weight = 2
"""


def test_a_recipe_is_read_into_settings(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD) == Recipe(
        "mine", width=3, train=Train(5, kind="adamw"), sources=(Source("a"), Source("b", 2.0))
    )


@pytest.mark.parametrize(
    ("text", "line", "what", "fix"),
    [
        ("nam = 'x'", 1, "unknown key `nam`", "did you mean `name`?"),
        ("\n[train]\nsteps = 1\nkidn = 'muon'", 4, "unknown key `train.kidn`", "did you mean `kind`?"),
        ("train.stepz = 3", 1, "unknown key `train.stepz`", "did you mean `steps`?"),
        ("[trian]\nsteps = 1", 1, "unknown key `trian`", "did you mean `train`?"),
        ("qqqq = 1", 1, "unknown key `qqqq`", "the keys here are name, chat"),
        ("[train]\nsteps = 'five'", 2, "`train.steps` must be a whole number, not str", "write `steps = 8`"),
        ("[train]\nsteps = 5.0", 2, "`train.steps` must be a whole number, not float", "write `steps = 8`"),
        ("[train]\nsteps = true", 2, "`train.steps` must be a whole number, not bool", "write `steps = 8`"),
        ("chat = 1", 1, "`chat` must be true or false, not int", "write `chat = true`"),
        ("name = 3", 1, "`name` must be text, not int", 'write `name = "text"`'),
        ("train = 3", 1, "`train` must be a table, not int", ""),
        ("width = 'x'", 1, "`width` must be a whole number, not str", ""),
        ("mixers = 'gru'", 1, "`mixers` must be a list of", "write `mixers = […]`"),
        ("[train]\nlr = 1.5", 2, "`train.lr = 1.5` is out of range", "give at least 0 and at most 1"),
        ("[train]\nlr = nan", 2, "`train.lr = nan` is out of range", "give at least 0 and at most 1"),
        ("factor = inf", 1, "`factor = inf` is out of range", "give a finite number"),
        ("width = 0", 1, "`width = 0` is out of range", "give at least 1"),
        ("[train]\nkind = 'adam'", 2, "`train.kind` cannot be 'adam'", "did you mean 'adamw'? choose one of"),
        ("\nmixers = ['gru', 'grv']", 2, "`mixers[1]` cannot be 'grv'", "did you mean 'gru'?"),
        (GOOD + "wieght = 1", 14, "unknown key `sources[1].wieght`", "did you mean `weight`?"),
        (GOOD + "\n[[sources]]\nweight = -1", 16, "`sources[2].weight = -1.0` is out of range", "at least 0"),
        ("\nsources = [{path = 1}]", 2, "`sources[0].path` must be text", 'write `path = "text"`'),
        ("\nsources = [3]", 2, "`sources[0]` must be a table", "there"),
        ('"a[b" = 1', None, "unknown key `a[b`", ""),
    ],
)
def test_a_mistake_names_file_line_key_and_remedy(
    tmp_path: Path, text: str, line: int | None, what: str, fix: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    place = f"{tmp_path / 'recipe.toml'}, line {line}" if line else str(tmp_path / "recipe.toml")
    assert what in caught.value.what
    assert caught.value.why.partition(": ")[0] == place
    assert fix in caught.value.fix


def test_two_settings_that_contradict_name_their_section(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[train\] in .*cannot be used") as caught:
        read(tmp_path, "[train]\nsteps = 1\ntokens = 1")
    assert caught.value.why == "steps and tokens are both set"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no recipe"):
        config.load(Recipe, tmp_path / "missing.toml", environment={})
    with pytest.raises(ConfigError, match="not valid TOML"):
        read(tmp_path, "name = ")
    (tmp_path / "recipe.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(Recipe, tmp_path / "recipe.toml", environment={})


def test_flag_beats_environment_beats_recipe_beats_default(tmp_path: Path) -> None:
    text = "[train]\nsteps = 2"
    assert config.load(Recipe, environment={}).train.steps == 0
    assert read(tmp_path, text).train.steps == 2
    assert read(tmp_path, text, SEEDBED_TRAIN__STEPS="3").train.steps == 3
    assert read(tmp_path, text, "train.steps=4", SEEDBED_TRAIN__STEPS="3").train.steps == 4
    assert read(tmp_path, text, "train.steps=4", "train.steps=5").train.steps == 5


def test_variables_without_a_section_are_not_settings(tmp_path: Path) -> None:
    assert read(tmp_path, "", SEEDBED_HOME="/x", SEEDBED_NAME="y", OTHER__X="1") == Recipe()


@pytest.mark.parametrize(
    ("assignment", "key", "value"),
    [
        ("name=123", "name", "123"),
        ("name='a b'", "name", "a b"),
        ("label=true", "label", "true"),
        ("chat=false", "chat", False),
        ("factor=2", "factor", 2.0),
        ("width = 4", "width", 4),
        ("mixers=['gru', 'attention']", "mixers", ("gru", "attention")),
        ("sources=[{path='z'}]", "sources", (Source("z"),)),
    ],
)
def test_a_flag_is_read_by_the_type_of_its_setting(tmp_path: Path, assignment: str, key: str, value: object) -> None:
    assert getattr(read(tmp_path, "", assignment), key) == value
    table = config.to_dict(Recipe())
    assert getattr(config.load(Recipe, table, overrides=[assignment], environment={}), key) == value
    assert table == config.to_dict(Recipe())


@pytest.mark.parametrize(
    ("assignment", "what", "why"),
    [
        ("train.stepz=1", "unknown key `stepz`", "--set train.stepz=1"),
        ("train.steps=x", "`train.steps` must be a whole number, not str", "--set train.steps=x: 'x'"),
        ("train.lr=2", "`train.lr = 2.0` is out of range", "--set train.lr=2"),
        ("name.first=x", "--set name.first=x: name.first is not a setting", "name is not a section"),
        ("train.steps", "--set train.steps", "there is no '=' in it"),
    ],
)
def test_a_wrong_flag_is_named_as_it_was_written(tmp_path: Path, assignment: str, what: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, "name = 'x'", assignment)
    assert (caught.value.what, caught.value.why) == (what, why)


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, "", SEEDBED_TRAIN__LR="7")
    assert caught.value.why == "environment variable SEEDBED_TRAIN__LR"


def test_flags_are_judged_together_not_one_after_the_other(tmp_path: Path) -> None:
    text = "[train]\ntokens = 9"
    for flags in (("train.steps=3", "train.tokens=0"), ("train.tokens=0", "train.steps=3")):
        assert read(tmp_path, text, *flags).train == Train(steps=3)
    with pytest.raises(ConfigError, match="cannot be used"):
        read(tmp_path, text, "train.steps=3")


def test_a_flag_keeps_the_other_defaults_of_its_section(tmp_path: Path) -> None:
    assert read(tmp_path, "", "train.lr=0.5").train == Train(tokens=7, lr=0.5)
    assert Recipe().train == Train(tokens=7)


def test_a_setting_without_default_must_be_given(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Needy:
        path: str

    with pytest.raises(ConfigError, match="settings has no path"):
        config.parse(Needy, {})


def test_every_setting_is_described_with_its_unit_and_value() -> None:
    found = {doc.key: doc for doc in config.describe(Recipe(width=3))}
    steps = found["train.steps"]
    assert (steps.type, steps.value, steps.doc, steps.unit) == ("a whole number", 0, "length", "steps")
    assert found["width"].type == "a whole number or nothing"
    assert found["width"].value == 3
    assert found["train.kind"].type == "one of 'muon', 'adamw'"
    assert list(found) == [
        *("name", "chat", "factor", "width", "label", "train.steps", "train.tokens", "train.lr", "train.kind"),
        *("sources", "mixers"),
    ]


numbers = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
recipes = st.builds(
    Recipe,
    name=texts,
    chat=st.booleans(),
    factor=numbers,
    width=st.none() | st.integers(1, 2**62),
    label=st.none() | texts,
    train=st.builds(Train, steps=st.integers(0, 2**62), lr=st.floats(0, 1), kind=st.sampled_from(("muon", "adamw"))),
    sources=st.lists(st.builds(Source, path=texts, weight=st.floats(0, 1e300)), max_size=3).map(tuple),
    mixers=st.lists(st.sampled_from(("attention", "gru")), max_size=3).map(tuple),
)


@given(recipes)
def test_settings_to_a_table_and_back(recipe: Recipe) -> None:
    assert config.parse(Recipe, config.to_dict(recipe)) == recipe
    assert config.parse(Recipe, json.loads(json.dumps(config.to_dict(recipe)))) == recipe


@given(recipes)
def test_settings_to_toml_and_back(tmp_path_factory: pytest.TempPathFactory, recipe: Recipe) -> None:
    text = "".join(f"{key} = {toml(value)}\n" for key, value in config.to_dict(recipe).items())
    path = tmp_path_factory.getbasetemp() / "round.toml"
    path.write_text(text, encoding="utf-8", newline="")
    assert config.load(Recipe, path, environment={}) == recipe


def toml(value: Any) -> str:
    """A value as TOML, written independently of the code under test."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        assert math.isfinite(value)
        return repr(value)
    if isinstance(value, int):
        return str(value)
    return '"' + "".join(f"\\U{ord(letter):08x}" for letter in value) + '"'
