"""`seedbed docs` as a user meets it: results, JSON, exit codes, and what is asked for wrongly."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from foreign_files import document_xml, word

from seedbed.cli import docs

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def seedbed(tmp_path: Path, invoke: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command line: exit code, standard output, standard error."""
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "sea.txt").write_text("Ships sail on the wide sea.\n")
    (tmp_path / "texts" / "food.md").write_text("# Meals\n\nBread and cheese are eaten at noon.\n")
    (tmp_path / "mail.eml").write_text(
        "From: ada@example.org\nSubject: Invoice\nDate: Mon, 6 Jan 2020 10:00:00 +0000\n\nPay it.\n"
    )
    return partial(invoke, "docs")


def as_json(result: tuple[int, str, str]) -> Any:
    assert result[0] == 0, result
    return json.loads(result[1])


def test_documents_are_added_listed_shown_searched_and_removed(seedbed: Run, tmp_path: Path) -> None:
    code, out, err = seedbed("add", "notes", "texts")
    assert (code, out) == (0, "notes: 2 documents, 2 chunks, tfidf\n")
    assert "2 read" in err
    code, out, _ = seedbed("ls")
    assert (code, out.split()[:2], out.splitlines()[1].split()[:3]) == (0, ["name", "documents"], ["notes", "2", "2"])
    code, out, _ = seedbed("show", "notes")
    assert code == 0
    assert str(tmp_path / "texts" / "sea.txt") in out
    code, out, _ = seedbed("show", "notes", "texts/food.md")
    assert code == 0
    assert "Meals" in out
    assert "    Bread and cheese are eaten at noon." in out
    code, out, _ = seedbed("search", "notes", "where do ships sail?", "--limit", "1")
    assert code == 0
    assert out.startswith(f"[1] {tmp_path / 'texts' / 'sea.txt'}")
    assert "    Ships sail on the wide sea." in out
    assert seedbed("rm", "notes", "texts/sea.txt", "--yes")[0] == 0
    assert seedbed("search", "notes", "ships", "--mode", "words")[1:] == ("", "nothing found\n")
    assert seedbed("rm", "notes", "--yes")[0] == 0
    assert as_json(seedbed("ls", "--json")) == []
    assert (tmp_path / "texts" / "sea.txt").exists()


def test_a_guessed_encoding_is_shown_with_its_certainty_and_can_be_set(seedbed: Run, tmp_path: Path) -> None:
    text = "Příští týden přijde opravář, který vymění starý kotel."
    path = tmp_path / "texts" / "old.txt"
    path.write_bytes(text.encode("cp1250"))
    code, _, err = seedbed("add", "notes", "texts")
    assert code == 0
    assert re.search(rf"{re.escape(str(path))}: read as cp1250 \(guessed, 9\d % certain\)", err)
    assert "--encoding NAME" in err
    assert "sea.txt: read as" not in err
    rows = {Path(row["source"]).name: row for row in as_json(seedbed("show", "notes", "--json"))["sources"]}
    assert rows["old.txt"]["encoding"].startswith("cp1250 (guessed, 9")
    assert rows["sea.txt"]["encoding"] == "utf-8"
    assert "cp1250 (guessed" in seedbed("show", "notes")[1]
    assert "read as cp1250 (guessed" in seedbed("show", "notes", "texts/old.txt")[2]

    report = as_json(seedbed("add", "notes", "texts/old.txt", "--encoding", "latin2", "--json"))
    assert report["updated"] == [str(path)]  # though its bytes have not changed
    [decoded] = report["decoded"]
    assert decoded == {"source": str(path), "encoding": "iso8859-2", "encoding_by": "given"}
    assert text.encode("cp1250").decode("latin2") in seedbed("show", "notes", "texts/old.txt")[1]
    assert as_json(seedbed("add", "notes", "texts/old.txt", "--encoding", "iso-8859-2", "--json"))["unchanged"]
    assert as_json(seedbed("add", "notes", "texts", "--json"))["updated"] == []  # what was set is kept


def test_bytes_that_were_replaced_are_counted(seedbed: Run, tmp_path: Path) -> None:
    (tmp_path / "texts" / "torn.txt").write_bytes("Über große Flüsse führen Brücken.".encode() + b"\xff\xff")
    assert "2 bytes replaced" in seedbed("add", "notes", "texts")[2]


def test_json_holds_it_all(seedbed: Run, tmp_path: Path) -> None:
    (tmp_path / "texts" / "bad.pdf").write_bytes(b"%PDF-1.4 nonsense")
    path = str(tmp_path / "texts" / "sea.txt")
    added = as_json(seedbed("add", "notes", "texts", "--json"))
    assert (added["documents"], added["chunks"], added["without_vector"]) == (2, 2, 0)
    assert path in added["read"]
    assert added["skipped"][0]["source"].endswith("bad.pdf")
    assert added["skipped"][0]["reason"]
    again = as_json(seedbed("add", "notes", "texts", "--json"))
    assert (again["read"], path in again["unchanged"], again["digest"]) == ([], True, added["digest"])
    assert [row["name"] for row in as_json(seedbed("ls", "--json"))] == ["notes"]
    shown = as_json(seedbed("show", "notes", "--json"))
    assert shown["sources"][1]["source"] == path
    (chunk,) = as_json(seedbed("show", "notes", "texts/sea.txt", "--json"))
    assert (chunk["text"], chunk["start"], chunk["end"]) == ("Ships sail on the wide sea.", 0, 27)
    hits = as_json(seedbed("search", "notes", "ships", "--json"))
    assert hits[0]["id"] == chunk["id"]
    assert hits[0]["score"] > 0
    assert as_json(seedbed("rm", "notes", "texts", "--yes", "--json")) == {"removed": "texts", "documents": 2}


@pytest.mark.parametrize(
    ("where", "count"),
    [
        (("source!=x",), 3),
        (("subject=Invoice",), 1),
        (("subject!=Invoice",), 2),
        (("heading=Meals",), 1),
        (("page>=1",), 0),
        (('subject="Invoice"',), 1),
        (("subject>=A", "subject<Z"), 1),
    ],
)
def test_where_chooses(seedbed: Run, where: tuple[str, ...], count: int) -> None:
    seedbed("add", "all", "texts", "mail.eml")
    flags = [flag for one in where for flag in ("--where", one)]
    assert len(as_json(seedbed("search", "all", "ships bread pay", "--json", *flags))) == count


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("year>=2020", {"year": {"gte": 2020}}),
        ("a=b=c", {"a": {"eq": "b=c"}}),
        ("draft=true", {"draft": {"eq": True}}),
        ('year="2020"', {"year": {"eq": "2020"}}),
        ("x<=-1.5", {"x": {"lte": -1.5}}),
        ('x!=""', {"x": {"ne": ""}}),
        ("x=[1]", {"x": {"eq": "[1]"}}),
    ],
)
def test_how_a_condition_is_read(text: str, expected: dict[str, Any]) -> None:
    assert docs._filter((text,)) == expected


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["show", "absent"], 4, "absent"),
        (["search", "absent", "x"], 4, "absent"),
        (["rm", "absent"], 4, "absent"),
        (["rm", "notes", "absent.txt"], 4, "absent.txt"),
        (["show", "notes", "absent.txt"], 4, "absent.txt"),
        (["add", "fresh", "absent.txt"], 4, "absent.txt"),
        (["add", "fresh", "texts", "--embedder", "absent"], 4, "absent"),
        (["add", "notes", "texts", "--chunk-size", "7"], 2, "made with other settings"),
        (["add", "../x", "texts"], 2, "cannot be a name"),
        (["add", "fresh"], 2, "no path or address"),
        (["add", "fresh", "--sql", "sqlite:///x.db"], 2, "--query"),
        (["add", "fresh", "--query", "SELECT 1"], 2, "--sql"),
        (["add", "fresh", "texts", "--sql", "sqlite:///x.db", "--query", "SELECT 1"], 2, "paths are added"),
        (["add", "fresh", "texts", "--id", "id"], 2, "--sql"),
        (["add", "fresh", "--sql", "sqlite:///x.db", "--query", "DELETE FROM x"], 2, "DELETE"),
        (["add", "fresh", "--sql", "sqlite:///x.db", "--query", "SELECT 1"], 4, "x.db"),
        (["add", "fresh", "--sql", "mysql://x/y", "--query", "SELECT 1"], 2, "mysql"),
        (["add", "fresh", "texts", "--splitter", "verse"], 2, "verse"),
        (["add", "fresh", "texts", "--encoding", "klingon"], 2, "cp1250"),
        (["add", "fresh", "texts", "--chunk-size", "5", "--chunk-overlap", "9"], 2, "overlap"),
        (["embed", "absent"], 4, "absent"),
        (["embed", "notes", "--embedder", "absent"], 4, "absent"),
        (["embed", "notes", "--embedder", "none"], 2, "keeps them"),
        (["search", "notes", "x", "--where", "year"], 2, "--where year"),
        *((["search", "notes", "x", "--where", f"year{sign} "], 2, "no value") for sign in ("=", "!=", ">", ">=", "<")),
        (["search", "notes", "x", "--limit", "0"], 2, "0"),
        (["search", "notes", "x", "--mode", "best"], 2, "best"),
    ],
)
def test_what_is_wrong_is_said_in_three_lines(seedbed: Run, arguments: list[str], code: int, says: str) -> None:
    seedbed("add", "notes", "texts")
    found, out, err = seedbed(*arguments)
    assert (found, out) == (code, "")
    assert [line.partition(":")[0] for line in err.splitlines()] == ["error", "why", "fix"]
    assert says in err
    assert [row["name"] for row in as_json(seedbed("ls", "--json"))] == ["notes"]


def test_vectors_are_made_by_a_command_of_their_own(seedbed: Run) -> None:
    assert seedbed("add", "later", "texts", "--embedder", "none")[0] == 0
    (hit,) = as_json(seedbed("search", "later", "ships", "--limit", "1", "--json"))
    assert hit["mode"] == "words"
    code, _, err = seedbed("search", "later", "ships", "--mode", "vector")
    assert (code, "docs embed later" in err) == (2, True)
    code, _, err = seedbed("add", "later", "texts", "--embedder", "tfidf")
    assert (code, "docs embed later --embedder tfidf" in err) == (2, True)
    code, out, _ = seedbed("embed", "later", "--embedder", "tfidf")
    assert (code, out) == (0, "later: 2 chunks, each with a vector (tfidf)\n")
    (hit,) = as_json(seedbed("search", "later", "ships", "--limit", "1", "--json"))
    assert hit["mode"] == "hybrid"


def test_a_page_of_this_machine_needs_permission(seedbed: Run) -> None:
    code, out, err = seedbed("add", "notes", "http://127.0.0.1:9/page", "--json")
    added = json.loads(out)
    assert (code, added["documents"]) == (1, 0)
    assert added["skipped"][0]["source"] == "http://127.0.0.1:9/page"
    assert "127.0.0.1 is not on the public web" in err
    assert "127.0.0.1 is 127.0.0.1" not in err + out


def test_nothing_but_skipped_sources_is_a_failure(seedbed: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.pdf").write_bytes(b"no PDF")
    (tmp_path / "texts" / "empty.txt").write_text("")
    code, out, err = seedbed("add", "notes", "bad.pdf", "texts/empty.txt")
    assert (code, out) == (1, "notes: 0 documents, 0 chunks, tfidf\n")
    assert err.count("bad.pdf") == 2  # where it was skipped, and in the error
    assert "empty.txt: there is no text in it" in err
    assert "error: nothing was read" in err
    assert seedbed("add", "notes", "bad.pdf", "texts")[0] == 0  # something was
    assert seedbed("add", "notes", "bad.pdf", "texts")[0] == 0  # and is there still


def test_a_file_that_was_read_in_part_is_told_from_one_that_was_not_read(seedbed: Run, tmp_path: Path) -> None:
    body = "<w:p><w:r><w:t>Three plain words.</w:t></w:r><w:laterPr><w:t>two more</w:t></w:laterPr></w:p>"
    (tmp_path / "a.docx").write_bytes(word(document_xml(body)))
    code, out, err = seedbed("add", "notes", "a.docx")
    assert (code, out) == (0, "notes: 1 documents, 1 chunks, tfidf\n")
    assert "a.docx: 2 of its 5 words were not read" in err
    assert err.count("read in part") == 1
    assert "1 read, 1 of them in part" in err
    added = as_json(seedbed("add", "more", "a.docx", "--json"))
    assert (added["skipped"], [sorted(one) for one in added["partly"]]) == ([], [["reason", "source"]])


def test_a_folder_without_documents_leaves_no_collection(seedbed: Run, tmp_path: Path) -> None:
    (tmp_path / "empty" / "nested").mkdir(parents=True)
    for sources in (("empty",), ("empty", "empty/nested")):
        code, _, err = seedbed("add", "notes", *sources)
        assert (code, "error: nothing was read" in err) == (1, True)
        assert "notes holds none" in err
    (tmp_path / "bad.pdf").write_bytes(b"no PDF")
    assert seedbed("add", "notes", "bad.pdf")[0] == 1
    assert seedbed("add", "notes", "--sql", "sqlite:///nothing.db", "--query", "SELECT 1")[0] != 0
    assert as_json(seedbed("ls", "--json")) == []
    assert seedbed("add", "notes", "texts")[0] == 0
    code, _, err = seedbed("add", "notes", "empty")  # what is there stays
    assert (code, err) == (0, "no document in what was named\n")
    assert as_json(seedbed("ls", "--json"))[0]["documents"] == 2


def test_quiet_says_nothing(seedbed: Run) -> None:
    assert seedbed("add", "notes", "texts", "-q")[2] == ""


def test_a_search_does_not_wait_for_torch(tmp_path: Path, seedbed: Run) -> None:
    seedbed("add", "notes", "texts")
    script = (
        "import sys\nfrom seedbed.cli.main import cli\n"
        "cli.main(['docs', 'search', 'notes', 'ships'], standalone_mode=False)\n"
        "print('torch' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.splitlines()[-1] == "False"
    assert "Ships sail" in done.stdout


def _rivers(path: Path, rows: list[tuple[int, str, int]]) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE IF EXISTS rivers")
        connection.execute("CREATE TABLE rivers (id INTEGER, name TEXT, km INTEGER)")
        connection.executemany("INSERT INTO rivers VALUES (?, ?, ?)", rows)


def test_rows_of_a_database_are_documents_that_follow_it(seedbed: Run, tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy", reason="the optional extra sql is not installed")
    query = "SELECT id, name, km FROM rivers"
    add = ("add", "water", "--sql", "sqlite:///rivers.db", "--query", query, "--id", "id")
    _rivers(tmp_path / "rivers.db", [(1, "Elbe", 1094), (2, "Nile", 6650), (3, "Rhine", 1230)])
    code, out, _ = seedbed(*add)
    assert (code, out) == (0, "water: 3 documents, 3 chunks, tfidf\n")
    digest = hashlib.sha256(query.encode()).hexdigest()[:8]
    name = f"sql:{tmp_path / 'rivers.db'}/{digest}"
    [found] = as_json(seedbed("search", "water", "Nile river", "--mode", "words", "--json"))
    assert (found["source"], found["text"]) == (f"{name}#2", "id: 2\nname: Nile\nkm: 6650")
    assert len(as_json(seedbed("search", "water", "name", "--where", "km<2000", "--json"))) == 2

    _rivers(tmp_path / "rivers.db", [(1, "Elbe", 1094), (2, "Nile", 6671), (4, "Oder", 840)])
    report = as_json(seedbed(*add, "--json"))
    kinds = {kind: [one.rpartition("#")[2] for one in report[kind]] for kind in ("read", "updated", "unchanged")}
    assert kinds == {"read": ["4"], "updated": ["2"], "unchanged": ["1"]}
    assert report["deleted"] == [f"{name}#3"]
    assert "6671" in seedbed("search", "water", "Nile", "--mode", "words")[1]
    assert seedbed("search", "water", "Rhine", "--mode", "words")[1] == ""

    assert seedbed("rm", "water", f"{name}#1", "--yes")[0] == 0
    assert as_json(seedbed("rm", "water", name, "--yes", "--json"))["documents"] == 2  # the rest of that query


def test_the_library_for_databases_is_named_where_it_is_missing(seedbed: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    code, out, err = seedbed("add", "water", "--sql", "sqlite:///rivers.db", "--query", "SELECT 1")
    assert (code, out) == (2, "")
    assert "pip install 'seedbed[sql]'" in err
    assert as_json(seedbed("ls", "--json")) == []


def test_what_a_folder_leaves_out_is_said_and_taken_in_on_request(seedbed: Run, tmp_path: Path) -> None:
    (tmp_path / "in" / "build").mkdir(parents=True)
    (tmp_path / "in" / "a.txt").write_text("The shed opens at ten.")
    (tmp_path / "in" / "build" / "b.txt").write_text("Built text.")
    (tmp_path / "out.txt").write_text("Text of elsewhere.")
    (tmp_path / "in" / "link.txt").symlink_to(tmp_path / "out.txt")
    os.mkfifo(tmp_path / "in" / "pipe.txt")
    code, out, err = seedbed("add", "walked", "in")
    assert (code, out) == (0, "walked: 1 documents, 1 chunks, tfidf\n")
    assert "1 a build folder, a cache or an environment (--no-ignore takes them in)" in err
    assert "1 symbolic links that leave the folder (--follow-links follows them)" in err
    assert "pipe.txt: it is no regular file" in err
    found = as_json(seedbed("add", "walked", "in", "--no-ignore", "--follow-links", "--json"))
    assert (found["documents"], found["left_out"]) == (3, [])


def test_the_limit_that_is_named_can_be_raised(seedbed: Run, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<p>The shed opens at ten.</p>" + " " * 300)
    code, _, err = seedbed("add", "small", "a.html", "--set", "file_bytes=100")
    assert code == 1
    assert "--set file_bytes=NUMBER" in err
    assert seedbed("add", "small", "a.html", "--set", "file_bytes=1000")[0] == 0
