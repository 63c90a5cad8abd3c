"""`seedbed train`, `demo` and `runs` as a user meets them: names, flags, exit codes, and what is said."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from seedbed.cli.recipes import load_with_corpus
from seedbed.cli.runs import sparkline
from seedbed.core.errors import ConfigError, NotFoundError

ROOT = Path(__file__).parents[2]
TINY = [
    "--set=pretrain.model.depth=1", "--set=pretrain.model.context=128", "--set=pretrain.steps=6",
    "--set=pretrain.batch=2", "--set=finetune.steps=2", "--set=finetune.batch=2", "--set=pretrain.evaluate_every=3",
]  # fmt: skip


def seedbed(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"SEEDBED_HOME": str(home), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "seedbed", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_the_demo_ends_with_a_model_a_report_and_an_answer(tmp_path: Path) -> None:
    report = tmp_path / "out.html"
    least = ("--no-serve", "--no-open-model", "--questions", "4", "--json", "-q")
    done = seedbed(tmp_path, "demo", "--corpus", "docs", "--output", str(report), *least, *TINY)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    result = json.loads(done.stdout)
    assert result["model"] == "quickstart-docs"
    assert {"this model", "base model", "Kneser-Ney 5-gram", "xz -9", "gzip -9"} <= set(result["table"])
    assert [one["name"] for one in result["bought"]] == ["own model, from nothing", "documents, quoted"]
    assert [(one["right"]["count"], one["refused"]["count"]) for one in result["bought"]] == [(4, 2), (4, 2)]
    made = json.loads(seedbed(tmp_path, "docs", "show", "quickstart-docs", "--json").stdout)
    assert made["embedder"] == "tfidf"
    unfinished = "vectors" in [one["part"] for one in result["left_out"]]  # a busy machine may not finish in time
    assert (made["without_vector"] > 0) is unfinished
    assert "What did each buy?" in report.read_text(encoding="utf-8")
    assert result["documents"]["collection"] == "quickstart-docs"
    answers = result["documents"]["answers"]
    assert len(answers) == 3
    assert result["first_answer_seconds"] > 0
    for citation in (one for answer in answers for one in answer["citations"]):
        source = (ROOT / citation["source"]).read_text(encoding="utf-8")
        assert source[citation["source_start"] : citation["source_end"]] == citation["quote"]
    asked = json.loads(seedbed(tmp_path, "ask", "Who pins threads?", "--docs", "quickstart-docs", "--json").stdout)
    assert {Path(hit["chunk"]["source"]).parent.name for hit in asked["hits"]} == {"docs"}
    assert "<!doctype html>" in report.read_text(encoding="utf-8")

    listed = json.loads(seedbed(tmp_path, "runs", "ls", "--json").stdout)
    assert {(run["name"], run["steps"]) for run in listed} == {
        ("quickstart-docs-run", 2),
        ("quickstart-docs-pretrain-run", 6),
    }
    shown = seedbed(tmp_path, "runs", "show", "quickstart-docs-pretrain-run")
    assert "training loss" in shown.stdout
    compared = json.loads(
        seedbed(tmp_path, "runs", "compare", "quickstart-docs-run", "quickstart-docs-pretrain-run", "--json").stdout
    )
    assert [run["stage"] for run in compared] == ["finetune", "pretrain"]


def test_a_small_text_without_a_network_still_has_an_assistant_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    """Two folders of one name are two collections: the second's answers never come from the first."""
    for part, text in (("a", "The Aurora carries four hundred people."), ("b", "The crane lifts stone blocks.")):
        (tmp_path / part / "notes").mkdir(parents=True)
        (tmp_path / part / "notes" / f"{part}.txt").write_text(text)
    environment = os.environ | {"SEEDBED_HOME": str(tmp_path / "home"), "PIP_CONFIG_FILE": os.devnull}
    environment |= {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_FIND_LINKS": "", "PIP_NO_INDEX": ""}
    told = []
    for part in ("a", "b", "a"):
        command = [sys.executable, "-m", "seedbed", "demo", "--corpus", str(tmp_path / part / "notes"), "--no-serve"]
        command += ["--json", "-q", "--output", str(tmp_path / "r.html")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        told.append(json.loads(done.stdout))
    left_out = [one["part"] for one in told[0]["left_out"] if one["part"] != "vectors"]  # which the time may cut off
    assert left_out == ["the open model", "search by meaning", "a model from nothing"]
    assert told[0]["collection"] == told[2]["collection"] != told[1]["collection"]
    sources = {Path(hit["chunk"]["source"]).name for one in told[1]["documents"]["answers"] for hit in one["hits"]}
    assert sources <= {"b.txt"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["train", "nothing.toml"], 4, "no recipe"),
        (["train", "quickstart", "--set", "pretrain.lrr=1"], 2, "did you mean `lr`?"),
        (["train", "quickstart", "--set", "pretrain.lr=fast"], 2, "must be a number"),
        (["train", "quickstart", "--resume", "--restart"], 2, "contradict"),
        (["train", "quickstart", "--resume"], 4, "no unfinished run"),
        (["train", "quickstart", "--corpus", "no/such/folder"], 4, "no/such/folder"),
        (["runs", "show", "nothing"], 4, "nothing"),
    ],
)
def test_wrong_input_gives_three_lines_and_a_code(tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    done = seedbed(tmp_path, *arguments)
    assert done.returncode == code, done.stderr
    assert [line.split(":")[0] for line in done.stderr.splitlines()[-3:]] == ["error", "why", "fix"]
    assert said in done.stderr
    assert done.stdout == ""


def test_a_kind_is_set_by_the_name_of_its_section(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError) as caught:
        load_with_corpus("quickstart", ["finetune.source.kind=chat"], None)
    assert caught.value.why == "--set finetune.source.kind=chat"
    assert caught.value.fix == "set the section itself to chat: --set finetune.source=chat"
    assert load_with_corpus("quickstart", ["finetune.source=chat"], None).name == "quickstart"
    monkeypatch.setenv("SEEDBED_FINETUNE__SOURCE__KIND", "chat")
    with pytest.raises(ConfigError) as caught:
        load_with_corpus("quickstart", [], None)
    assert caught.value.fix.endswith("environment variable SEEDBED_FINETUNE__SOURCE")


def test_a_model_is_called_after_its_text_unless_it_is_named(tmp_path: Path) -> None:
    assert load_with_corpus("quickstart", [], None).name == "quickstart"
    assert load_with_corpus("quickstart", [], "stdlib").name == "quickstart"
    assert load_with_corpus("quickstart", [], str(tmp_path / "My notes")).name == "quickstart-My-notes"
    assert load_with_corpus("quickstart", ["name=mine"], str(tmp_path)).name == "mine"
    with pytest.raises(NotFoundError):
        load_with_corpus("slowstart", [], None)


def test_a_sparkline_goes_from_the_lowest_to_the_highest_bar() -> None:
    assert sparkline([0.0, 3.5, 7.0]) == "▁▅█"
    assert sparkline([2.0, 2.0]) == "▁▁"
    assert len(sparkline([float(i) for i in range(1000)], width=50)) == 50
