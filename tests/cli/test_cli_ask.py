"""`seedbed ask` as a user meets it: answers with sources, "not in the documents", JSON, traces and wrong input."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from seedbed.core.artifacts import Library
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.models.store import save_model
from seedbed.rag.chains import CHAINS
from seedbed.rag.collection import Collection
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer

Run = Callable[..., tuple[int, str, str]]
GUIDE = """# Bridges

The bridge was opened in 1932 by the governor. It is painted grey every year.

# Ferries

Ferries run twice an hour. The last one leaves at midnight.
"""
OPENED = "The bridge was opened in 1932 by the governor."
ASKED = "When was the bridge opened?"
UNKNOWN = "Which particles carry the strong interaction?"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """A collection of one guide, and a tiny model of random weights whose end token is never the best."""
    torch.set_num_threads(1)
    home = tmp_path_factory.mktemp("home")
    library = Library(home / "library")
    (home / "guide.md").write_text(GUIDE)
    collection = Collection.create(library, "guide")
    collection.add([str(home / "guide.md")])
    collection.close()
    tokenizer = train_tokenizer([GUIDE, ASKED], TokenizerSettings(vocab_size=280))
    model = Decoder(ModelConfig(tokenizer.vocab_size, d_model=32, n_layers=1, n_heads=2, max_length=512, tied=False))
    for parameter in model.parameters():
        parameter.data.normal_(0.0, 0.3, generator=torch.Generator().manual_seed(2))
    model.output.weight.data[sorted(tokenizer.special_ids)] = 0
    with library.writing("model", name="tiny") as draft:
        save_model(draft.path, model.eval(), tokenizer)
    return library


@pytest.fixture
def seedbed(library: Library, invoke: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command line: exit code, standard output, standard error."""
    monkeypatch.setenv("SEEDBED_HOME", str(library.root))
    return invoke


def test_without_a_model_the_best_sentence_answers_with_its_place(seedbed: Run, library: Library) -> None:
    code, out, err = seedbed("ask", ASKED, "--docs", "guide")
    guide = library.root.parent / "guide.md"
    assert out == f"{OPENED} [1]\n\n[1] {guide}, Bridges: “{OPENED}”\n"
    assert (code, err) == (0, "")


def test_the_question_may_come_from_standard_input(seedbed: Run) -> None:
    assert seedbed("ask", "-", "--docs", "guide", stdin=f"{ASKED}\n".encode())[1].startswith(OPENED)


def test_what_the_documents_do_not_tell_is_said_with_the_nearest_passages(seedbed: Run) -> None:
    code, out, _ = seedbed("ask", "Which bridge did penguins of Antarctica paint blue?", "--docs", "guide")
    assert code == 0
    assert out.startswith("Not in the documents.\n\nThe nearest passages:\n  ")
    assert "guide.md, Bridges: “" in out


def test_json_has_everything(seedbed: Run) -> None:
    code, out, _ = seedbed("ask", ASKED, "--docs", "guide", "--json")
    told = json.loads(out)
    assert code == 0
    assert (told["found"], told["text"], told["chain"]) == (True, OPENED, "extract")
    (citation,) = told["citations"]
    assert GUIDE[citation["source_start"] : citation["source_end"]] == OPENED
    assert (citation["heading"], citation["support"]) == ("Bridges", 1.0)
    assert {"evidence", "unsupported", "hits", "cut", "usage", "model", "question"} <= set(told)
    unknown = json.loads(seedbed("ask", UNKNOWN, "--docs", "guide", "--json")[1])
    assert (unknown["found"], unknown["citations"]) == (False, [])


@pytest.mark.parametrize("chain", [chain for chain in CHAINS if chain != "extract"])
def test_every_chain_runs_on_a_small_model_of_random_weights(seedbed: Run, chain: str) -> None:
    arguments = ("ask", ASKED, "--docs", "guide", "--model", "tiny", "--chain", chain, "--max-tokens", "6", "--json")
    code, out, err = seedbed(*arguments)
    assert code == 0, err
    told = json.loads(out)
    assert (told["chain"], told["model"]) == (chain, "tiny")
    assert told["usage"]["completion_tokens"] > 0
    spans = [(one["start"], one["end"]) for one in told["citations"]] + [tuple(one) for one in told["unsupported"]]
    assert all(0 <= start < end <= len(told["text"]) for start, end in spans)


def test_what_no_passage_says_is_marked_and_evidence_is_shown(seedbed: Run) -> None:
    code, out, _ = seedbed(
        *("ask", ASKED, "--docs", "guide", "--model", "tiny", "--chain", "stuff"),
        *("--max-tokens", "6", "--evidence", "--threshold", "0"),
    )
    assert code == 0
    assert out.rstrip().endswith("[?] no passage says this")
    assert out.count("[?]") >= 2


def test_the_quotation_answers_where_no_passage_supports_the_model(seedbed: Run, library: Library) -> None:
    code, out, err = seedbed("ask", ASKED, "--docs", "guide", "--model", "tiny", "--max-tokens", "6")
    guide = library.root.parent / "guide.md"
    assert code == 0
    assert out.startswith(f"{OPENED} [1]\n\n[1] {guide}, Bridges: “{OPENED}”\n\nNot supported by the passages: ")
    assert err.startswith("(read 1 of 1 passages, ")


def test_a_conversation_with_documents_understands_a_follow_up(seedbed: Run) -> None:
    asked = f"{ASKED}\nAnd the ferries?\n".encode()
    code, out, err = seedbed("chat", "tiny", "--docs", "guide", "--max-tokens", "6", stdin=asked)
    assert code == 0
    assert out.startswith(f"{OPENED} [1]\n")
    assert out.count("Not supported by the passages: ") == 2
    assert f"(asked of the documents: {ASKED} And the ferries?)" in err  # the random model rewrites nothing
    assert err.count("(read 1 of 1 passages, ") == 2
    code, out, _ = seedbed("chat", "tiny", "--docs", "guide", "--once", ASKED, "--max-tokens", "6", "--json")
    assert (code, json.loads(out)["text"]) == (0, OPENED)
    assert seedbed("chat", "tiny", "--docs", "nothing", "--once", ASKED)[0] == 4


def test_a_conversation_with_documents_obeys_system_and_temperature(seedbed: Run) -> None:
    def told(*flags: str) -> dict[str, Any]:
        code, out, _ = seedbed(*("chat", "tiny", "--docs", "guide", "--once", ASKED, "--json"), *flags)
        assert code == 0
        found: dict[str, Any] = json.loads(out)
        return found

    short = ("--max-tokens", "6")
    plain = told(*short)
    assert told(*short, "--seed", "3") == plain  # greedy unless a temperature is given
    assert told(*short, "--temperature", "0") == plain
    drawn = [told(*short, "--temperature", "2", "--seed", seed)["demoted"] for seed in "123"]
    assert len({str(one) for one in drawn}) == 3
    system = told(*short, "--system", "Say nothing about ferries.")
    assert system["usage"]["prompt_tokens"] > plain["usage"]["prompt_tokens"]
    assert system["rewritten"] == plain["rewritten"] == ""


def test_a_trace_is_kept_where_runs_finds_it(seedbed: Run, library: Library) -> None:
    _, _, err = seedbed("ask", ASKED, "--docs", "guide", "--trace")
    assert err.startswith("trace: seedbed runs traces ")
    identity = err.split()[-1]
    from seedbed.chat.trace_log import TraceLog

    with TraceLog.of(library) as log:
        names = [(one.what, one.name, one.status) for one in log.tree(identity)]
        kept = str(log.tree(identity))
    assert names == [("chain", "ask", "ok"), ("retriever", "search", "ok"), ("chain", "extract", "ok")]
    assert "bridge" not in kept  # contents stay out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((ASKED, "--docs", "guide", "--chain", "stuff"), 2, "there is no model"),
        ((" ", "--docs", "guide"), 2, "the question is empty"),
        ((ASKED, "--docs", "nothing"), 4, "there is no collection 'nothing'"),
        ((ASKED, "--docs", "guide", "--model", "nobody"), 4, "nobody"),
        ((ASKED,), 2, "--docs"),
        ((ASKED, "--docs", "guide", "--chain", "guess"), 2, "guess"),
        (
            ("the bridge " * 900, "--docs", "guide", "--model", "tiny", "--threshold", "0"),
            5,
            "leaves no room for a passage",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_three_lines(
    seedbed: Run, arguments: tuple[str, ...], code: int, said: str
) -> None:
    found, out, err = seedbed("ask", *arguments)
    assert (found, out) == (code, "")
    assert said in err
    assert [line.split(":")[0] for line in err.strip().splitlines()] == ["error", "why", "fix"]


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    check = (
        "import sys\nfrom seedbed.cli.main import main\n"
        "try: main(['ask', '--help'])\n"
        "except SystemExit: print(sorted({'torch', 'numpy', 'sqlite3'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout
    assert "Example:" in said
    assert said.rstrip().endswith("[]")
