"""A whole recipe on a folder of generated prose: stages, lineage, resume, and what goes wrong."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.config import to_dict
from seedbed.core.errors import ConfigError, DataError, NotFoundError, UsageError
from seedbed.core.lineage import family
from seedbed.corpus.columns import Columns
from seedbed.corpus.pairs import build_pairs
from seedbed.corpus.settings import SourceSettings
from seedbed.formats.exporting import export_huggingface, load_for_export
from seedbed.formats.importing import import_model
from seedbed.formats.peft_format import read_adapter
from seedbed.models.store import load_model
from seedbed.pipeline.recipe import Recipe, check_inputs, flat, load_recipe, recipe_path
from seedbed.pipeline.run import run_recipe
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer
from seedbed.train.metrics import TIMING, read_metrics

SUBJECTS = ["The gardener", "A quiet river", "The old clock", "My neighbour", "The small ship", "Her teacher"]
VERBS = ["watches", "follows", "remembers", "carries", "paints", "forgets"]
OBJECTS = ["the morning light", "a red umbrella", "seven letters", "the northern road", "an empty house"]


def write_prose(folder: Path, documents: int = 30) -> None:
    """Documents with headings, from a tiny grammar: real prose as far as the pipeline is concerned."""
    chance = random.Random(7)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(documents):
        parts = [f"# Story {number}\n"]
        for chapter in range(4):
            sentences = [
                f"{chance.choice(SUBJECTS)} {chance.choice(VERBS)} {chance.choice(OBJECTS)}." for _ in range(9)
            ]
            parts.append(f"## {chance.choice(SUBJECTS)} in chapter {chapter} of {number}\n\n{' '.join(sentences)}\n")
        (folder / f"story{number:02}.md").write_text("\n".join(parts), encoding="utf-8")


def settings(folder: Path, *more: str) -> list[str]:
    training = ["steps=12", "batch=4", "save_every=4", "evaluate_every=6", "evaluate_batches=2", "sample_seconds=0.0"]
    return [
        "name=story",
        f'corpus.sources=[{{name = "stories", path = "{folder}"}}]',
        "tokenizer.vocab_size=320",
        *(f"pretrain.model.{size}" for size in ("depth=2", "context=128", "d_model=32", "n_heads=2")),
        *(f"pretrain.{setting}" for setting in training),
        *(f"finetune.{setting}" for setting in training),
        *more,
    ]


def recipe(folder: Path, *more: str, without: Collection[str] = ()) -> Recipe:
    """The quickstart on a folder, in miniature, without some of its stages."""
    whole = load_recipe(None, settings(folder, *more))
    return replace(whole, stage=tuple(stage for stage in whole.stage if stage.title not in without))


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Sums are made in another order with another number of threads: equal bits need an equal number."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seedbed.pipeline.stages.train.cores", lambda: 1)
        torch.set_num_threads(1)
        yield


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text") / "stories"
    write_prose(folder)
    return folder


@pytest.fixture(scope="module")
def made(text: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Library, Artifact]:
    library = Library(tmp_path_factory.mktemp("home"))
    return library, run_recipe(recipe(text), library).model


def ancestors(artifact: Artifact, library: Library) -> dict[str, str]:
    found = {artifact.kind: artifact.id}
    for parent in library.parents(artifact):
        found = ancestors(parent, library) | found
    return found


def test_every_stage_is_named_and_the_tree_reaches_the_corpus(made: tuple[Library, Artifact]) -> None:
    library, model = made
    names = {"story", "story-pretrain", "story-corpus", "story-tokenizer", "story-tokens", "story-questions"}
    assert names | {"story-report", "story-run", "story-pretrain-run"} == set(library.names())
    assert set(ancestors(model, library)) == {"model", "questions", "tokens", "tokenizer", "corpus"}
    for artifact in library.all():
        artifact.verify()
    assert not list((library.root / "work").iterdir())


def test_the_same_recipe_on_the_same_text_is_the_same_model(
    made: tuple[Library, Artifact], text: Path, tmp_path: Path
) -> None:
    _, model = made
    again = run_recipe(recipe(text), Library(tmp_path)).model
    assert again.id == model.id


def test_one_changed_byte_changes_every_descendant(made: tuple[Library, Artifact], text: Path, tmp_path: Path) -> None:
    library, model = made
    write_prose(tmp_path / "stories")
    story = tmp_path / "stories" / "story03.md"
    story.write_bytes(story.read_bytes()[:-2] + b"! \n"[:2])
    other = Library(tmp_path / "home")
    changed = run_recipe(recipe(tmp_path / "stories"), other).model
    before, after = ancestors(model, library), ancestors(changed, other)
    assert before.keys() == after.keys()
    assert all(before[kind] != after[kind] for kind in before)


def test_an_interrupted_recipe_resumes_bit_for_bit(made: tuple[Library, Artifact], text: Path, tmp_path: Path) -> None:
    """A real process, stopped by a real Ctrl-C in each training stage, ends with the very same models."""
    library, model = made
    environment = os.environ | {"SEEDBED_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", DRIVER, *settings(text)]
    flags = ("", "--resume", "--resume")
    outcomes = [subprocess.run([*command, flag], env=environment, capture_output=True, text=True) for flag in flags]
    codes = [outcome.returncode for outcome in outcomes]
    assert codes == [130, 130, 0], outcomes[-1].stderr
    again = Library(tmp_path).get("story", "model")
    assert again.id == model.id
    for run in ("story-run", "story-pretrain-run"):
        lines = [read_metrics(home.get(run, "run").file("metrics.jsonl")) for home in (library, Library(tmp_path))]
        one, two = ([{k: v for k, v in line.items() if k not in TIMING} for line in part] for part in lines)
        assert one == two


# Runs a recipe on one thread and sends itself Ctrl-C after the fifth batch of each training stage it begins afresh.
DRIVER = """
import os, signal, sys
import torch
from seedbed.core.artifacts import Library
from seedbed.core.errors import SeedbedError
from seedbed.pipeline.recipe import load_recipe
from seedbed.pipeline.run import run_recipe
import seedbed.pipeline.stages.train as training
from seedbed.train.loop import TrainingRun
training.cores = lambda: 1
torch.set_num_threads(1)
step = TrainingRun._step
def stepping(self):
    if self.progress.step == 4 and not self.resumed:
        os.kill(os.getpid(), signal.SIGINT)
    return step(self)
start = TrainingRun._start
def starting(self, resume):
    start(self, resume)
    self.resumed = self.progress.step > 0
TrainingRun._step, TrainingRun._start = stepping, starting
*overrides, flag = sys.argv[1:]
try:
    run_recipe(load_recipe(None, overrides), Library(), resume=flag == "--resume")
except SeedbedError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


def test_an_unfinished_run_is_in_the_way(text: Path, tmp_path: Path) -> None:
    environment = os.environ | {"SEEDBED_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    stopped = subprocess.run([sys.executable, "-c", DRIVER, *settings(text), ""], env=environment, capture_output=True)
    assert stopped.returncode == 130
    library = Library(tmp_path)
    with pytest.raises(UsageError, match="not finished") as caught:
        run_recipe(recipe(text), library)
    assert "--resume" in caught.value.fix
    with pytest.raises(UsageError, match="not the one") as caught:
        run_recipe(recipe(text, "pretrain.lr=0.5"), library, resume=True)
    assert "pretrain.settings.lr" in caught.value.why
    assert run_recipe(recipe(text), library, restart=True).model.kind == "model"


def test_nothing_to_resume(text: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no unfinished run"):
        run_recipe(recipe(text), Library(tmp_path), resume=True)


@pytest.mark.parametrize("files", [{}, {"picture.png": b"\x89PNG\x00\x00"}])
def test_a_folder_without_text(tmp_path: Path, files: dict[str, bytes]) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    with pytest.raises(DataError):
        run_recipe(recipe(folder), Library(tmp_path / "home"))


def test_a_corpus_smaller_than_one_batch(text: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="smaller than one batch"):
        run_recipe(recipe(text, "pretrain.batch=4000"), Library(tmp_path))


def test_without_chat_the_base_is_the_model(text: Path, tmp_path: Path) -> None:
    short = recipe(text, "report.baselines=false", without=("questions", "finetune"))
    outcome = run_recipe(short, Library(tmp_path))
    assert outcome.model.manifest.config["stage"] == "pretrain"
    assert "questions" not in {artifact.kind for artifact in Library(tmp_path).all()}


def test_several_sources_are_mixed(text: Path, tmp_path: Path) -> None:
    write_prose(tmp_path / "more", 12)
    (tmp_path / "more" / "own.txt").write_text("Words that stand nowhere else. " * 40)
    sources = f'[{{name = "a", path = "{text}"}}, {{name = "b", path = "{tmp_path / "more"}", weight = 3.0}}]'
    more = (f"corpus.sources={sources}", "report.baselines=false")
    mixed = recipe(text, *more, without=("questions", "finetune"))
    outcome = run_recipe(mixed, Library(tmp_path / "home"))
    assert load_file(outcome.model.file("model.safetensors"))
    results = json.loads(outcome.evaluation.file("results.json").read_text())
    assert results["bits_per_byte"] > 0


def published(folder: Path) -> Path:
    """A random GPT-2 with a tokenizer of its own, as others publish models."""
    tokenizer = train_tokenizer(["the morning light on the northern road"], TokenizerSettings(kind="byte"))
    torch.manual_seed(5)
    config = transformers.GPT2Config(
        vocab_size=tokenizer.vocab_size, n_embd=32, n_layer=2, n_head=2, n_positions=256, bos_token_id=0, eos_token_id=1
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save(folder)
    return folder


@pytest.mark.parametrize("pretraining", [True, False])
def test_a_recipe_goes_on_with_a_published_model(text: Path, tmp_path: Path, pretraining: bool) -> None:
    library = Library(tmp_path / "home")
    start = import_model(library, published(tmp_path / "gpt2"), "begun")
    first, without = ("pretrain", ()) if pretraining else ("finetune", ("pretrain",))
    more = ["tokenizer.use=begun", f"{first}.begin=begun", f"{first}.context=128"]
    outcome = run_recipe(recipe(text, *more, without=without), library)
    relatives = ancestors(outcome.model, library)
    assert start.id in {relative.id for relative in family(library, outcome.model).ancestors()}
    assert relatives.keys() >= {"corpus", "tokens", "questions", "tokenizer"}
    kept = load_model(outcome.model)
    assert (kept.model.config.max_length, kept.model.config.position) == (256, "learned")
    assert kept.published["family"] == "gpt2"
    assert kept.tokenizer.hash == load_model(start).tokenizer.hash
    before, after = (load_file(one.file("model.safetensors")) for one in (start, outcome.model))
    assert any(not torch.equal(before[name], after[name]) for name in before)
    export_huggingface(load_for_export(outcome.model), tmp_path / "out")
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "out")
    ids = torch.tensor([kept.tokenizer.encode("the old clock")])
    assert torch.allclose(theirs(ids).logits, kept.model(ids)[0], atol=1e-4)


def test_low_rank_fine_tuning_stores_the_model_and_what_it_learned(text: Path, tmp_path: Path) -> None:
    library = Library(tmp_path / "home")
    start = import_model(library, published(tmp_path / "gpt2"), "begun")
    more = ["tokenizer.use=begun", "finetune.begin=begun", "finetune.context=128", "finetune.transform=lora"]
    more += ["finetune.transform.rank=2", "finetune.optimizer=adamw"]
    model = run_recipe(recipe(text, *more, without=("pretrain",)), library).model
    before, after = (load_file(one.file("model.safetensors")) for one in (start, model))
    parts = read_adapter(library.get("story-adapter", "adapter").path)
    assert {name for name in before if not torch.equal(before[name], after[name])} == {
        f"{path}.weight" for path in parts
    }
    for path, part in parts.items():
        expected = before[f"{path}.weight"] + part.scale * part.up @ part.down
        assert torch.allclose(after[f"{path}.weight"], expected, atol=1e-6)


def test_a_stored_corpus_and_stored_pairs_are_used(made: tuple[Library, Artifact], tmp_path: Path) -> None:
    """What was made for one run serves another; the folder its text came from need not be there."""
    library, _ = made
    rows = [("", {"prompt": f"what is {number}?", "response": f"a number, {number}"}) for number in range(20)]
    pairs = build_pairs(rows, Columns(prompt="prompt", reply="response"), library, "numbers")
    more = ["name=again", "corpus.use=story-corpus", "questions.use=numbers", "pretrain.model.depth=1"]
    relatives = ancestors(run_recipe(recipe(tmp_path / "nowhere", *more), library).model, library)
    assert (relatives["corpus"], relatives["questions"]) == (library.get("story-corpus").id, pairs.id)


def test_a_model_is_fine_tuned_on_a_file_of_conversations(
    made: tuple[Library, Artifact], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One reply of each is not to be learned: the loss sees the tokens of the other alone."""
    library, start = made
    path, tokenizer = tmp_path / "chats.jsonl", load_model(start).tokenizer
    with path.open("w") as file:
        for n in range(20):
            turns = [("user", f"q{n}"), ("assistant", "bad " * 9), ("user", "again"), ("assistant", "good")]
            messages = [{"role": role, "content": text} for role, text in turns]
            file.write(json.dumps({"messages": [messages[0], {**messages[1], "weight": 0}, *messages[2:]]}) + "\n")
        file.write('{"messages": null}\n')
    small = ["finetune.steps=3", "finetune.batch=2", "finetune.context=100", "finetune.evaluate_every=0"]
    changes = ["name=chatty", f"questions.files={path}", f"finetune.begin={start.id}", *small]
    model = run_recipe(load_recipe("conversations", changes), library).model
    told = "1 of 21 rows are left out\n  1 × column messages is empty (first: chats.jsonl#21)"
    assert told in capsys.readouterr().err
    assert "questions" in ancestors(model, library)
    learned = len(tokenizer.encode("good")) + 1
    assert library.get("chatty-run", "run").manifest.metrics["tokens"] == 3 * 2 * learned


@pytest.mark.parametrize(
    ("more", "kind", "match"),
    [
        (["questions.files=nowhere.jsonl"], NotFoundError, "there is no file nowhere.jsonl"),
        (["questions.use=pairs"], ConfigError, "two sources of conversations"),
    ],
)
def test_files_of_conversations_are_looked_for_before_anything_runs(
    tmp_path: Path, more: list[str], kind: type[Exception], match: str
) -> None:
    with pytest.raises(kind, match=match):
        check_inputs(load_recipe("conversations", more), Library(tmp_path))


def test_a_stage_that_lacks_what_it_needs_says_which_stage_is_missing(text: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs tokens") as caught:
        run_recipe(recipe(text, without=("tokens",)), Library(tmp_path))
    assert "a stage that makes tokens" in caught.value.fix
    with pytest.raises(NotFoundError, match="pretrain"):
        run_recipe(recipe(text, without=("pretrain",)), Library(tmp_path / "other"))


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('kind = "tokens"', 'kind = "tokenss"', "did you mean 'tokens'"),
        ('kind = "tokens"', 'name = "words"', "add `kind"),
        ('objective = "causal_lm"', 'objective = "casual_lm"', "did you mean 'causal_lm'"),
        ('objective = "causal_lm"', "", "has no stage"),
        ("replay = 0.7", "replya = 0.7", "did you mean `replay`"),
        ('name = "finetune"', 'name = "pretrain"', "two stages are called pretrain"),
    ],
)
def test_a_mistake_in_a_stage_names_the_nearest(tmp_path: Path, old: str, new: str, match: str) -> None:
    text = recipe_path("quickstart").read_text()
    assert old in text
    path = tmp_path / "own.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        load_recipe(path)
    assert match in str(caught.value)


FORMER = """
name = "old"
[[corpus.sources]]
name = "notes"
path = "docs"
[tokenizer]
vocab_size = 512
[model]
depth = 2
context = 128
[pretrain]
steps = 7
[finetune]
replay = 0.25
rank = 4
alpha = 8.0
[finetune.train]
steps = 3
lr = 0.01
"""


def test_a_recipe_of_the_former_form_is_refused_with_its_new_text(tmp_path: Path) -> None:
    path = tmp_path / "old.toml"
    path.write_text(FORMER)
    with pytest.raises(ConfigError, match="former form") as caught:
        load_recipe(path)
    path.write_text(str(caught.value).partition("\n\n")[2])  # as it is printed
    read = flat(to_dict(load_recipe(path)))
    expected = {
        "name": "old",
        "corpus.settings.sources": [to_dict(SourceSettings("notes", "docs"))],
        "tokenizer.settings.vocab_size": 512,
        "pretrain.model.depth": 2,
        "pretrain.model.context": 128,
        "pretrain.settings.steps": 7,
        "finetune.begin": "pretrain",
        "finetune.source.replay": 0.25,
        "finetune.transform.rank": 4,
        "finetune.transform.alpha": 8.0,
        "finetune.settings.steps": 3,
        "finetune.settings.lr": 0.01,
    }
    assert {key: read[key] for key in expected} == expected
