"""Collections: only what has changed is read, nothing is lost, embedders are kept apart, servers follow."""

from __future__ import annotations

import hashlib
import json
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch
from foreign_files import text_pdf
from serving import add_model
from sound_store import verify

from seedbed.app.documents import adding
from seedbed.core.artifacts import Library
from seedbed.core.errors import CapacityError, ConfigError, CorruptError, NewerError, NotFoundError, UsageError
from seedbed.documents.limits import Limits
from seedbed.rag import ingest
from seedbed.rag.collection import Collection, home, names, remove
from seedbed.search.servers import synchronize
from seedbed.search.store import Store
from seedbed.vectors.lsa import Latent

SEA = "Ships sail on the wide sea, and sailors sing.\n"
FOOD = "Bread and cheese are eaten at noon.\n"
STARS = "Telescopes look at distant stars and galaxies.\n"


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "library")


@pytest.fixture
def collection(library: Library) -> Iterator[Collection]:
    one = Collection.create(library, "notes")
    yield one
    one.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    (folder / "inner").mkdir(parents=True)
    (folder / "sea.txt").write_text(SEA)
    (folder / "food.md").write_text(f"# Meals\n\n{FOOD}")
    (folder / "inner" / "stars.txt").write_text(STARS)
    return folder


def relative(paths: list[str], folder: Path) -> list[str]:
    return [str(Path(path).relative_to(folder)) for path in paths]


def test_documents_are_added_and_found(collection: Collection, folder: Path) -> None:
    report = collection.add([str(folder)])
    assert relative(report.read, folder) == ["food.md", "inner/stars.txt", "sea.txt"]
    assert (report.updated, report.unchanged, report.deleted, report.skipped) == ([], [], [], [])
    for query, text in (("sailing ships", SEA), ("cheese", FOOD), ("galaxy", STARS)):
        hit = collection.search(query, 1)[0]
        assert text.strip() in hit.chunk.text
        assert text.strip() in Path(hit.chunk.source).read_text()[hit.chunk.start : hit.chunk.end]
    assert collection.store.pending() == 0
    assert collection.chunks_of(str(folder / "food.md"))[0].heading == "Meals"


def test_only_what_has_changed_is_read_again(collection: Collection, folder: Path) -> None:
    collection.add([str(folder)])
    before = {one.source: one.added for one in collection.store.documents()}
    (folder / "sea.txt").write_text(SEA + "A whale!\n")
    (folder / "food.md").unlink()
    (folder / "new.txt").write_text("Something new.\n")
    report = collection.add([str(folder)])
    assert relative(report.read, folder) == ["new.txt"]
    assert relative(report.updated, folder) == ["sea.txt"]
    assert relative(report.unchanged, folder) == ["inner/stars.txt"]
    assert relative(report.deleted, folder) == ["food.md"]
    after = {one.source: one.added for one in collection.store.documents()}
    stars = str(folder / "inner" / "stars.txt")
    assert after[stars] == before[stars]
    assert collection.search("cheese", 1, mode="words") == []
    assert "whale" in collection.search("whale", 1)[0].chunk.text
    assert collection.add([str(folder)]).unchanged == sorted(after)


def test_a_single_file_leaves_its_neighbours_alone(collection: Collection, folder: Path) -> None:
    collection.add([str(folder)])
    (folder / "food.md").unlink()
    report = collection.add([str(folder / "sea.txt")])
    assert (len(report.unchanged), report.deleted) == (1, [])
    assert len(collection.store.documents()) == 3


def test_a_file_that_can_no_longer_be_read_keeps_what_it_had(collection: Collection, folder: Path) -> None:
    collection.add([str(folder)])
    (folder / "sea.txt").write_bytes(b"\x00\x01\x02" * 1000)
    report = collection.add([str(folder)])
    assert [one.source for one in report.skipped] == [str(folder / "sea.txt")]
    assert report.skipped[0].reason
    assert collection.search("ships", 1)[0].chunk.text == SEA.strip()


def test_bad_files_are_reported_and_the_others_read(collection: Collection, folder: Path) -> None:
    (folder / "bad.pdf").write_bytes(b"%PDF-1.4 nonsense")
    (folder / "empty.txt").write_text(" \n")
    report = collection.add([str(folder)])
    assert relative([one.source for one in report.skipped], folder) == ["bad.pdf", "empty.txt"]
    assert len(report.read) == 3


def test_a_file_of_which_a_part_was_read_is_read_and_the_rest_is_said(collection: Collection, folder: Path) -> None:
    content = text_pdf(["The key hangs in the shed.", "Broken", "The boat leaves at dawn."])
    (folder / "a.pdf").write_bytes(content.replace(b"(Broken) Tj", b"[(B) Tc] TJ"))
    report = collection.add([str(folder)])
    assert (len(report.read), report.skipped) == (4, [])
    [partly] = report.partly
    assert (partly.source, partly.reason[:18]) == (str(folder / "a.pdf"), "page 2 is damaged:")
    hit = collection.search("When does the boat leave?", 1)[0].chunk
    assert (hit.text[:13], collection.add([str(folder)]).partly) == ("The key hangs", [])


def test_a_path_that_is_not_there_stops_before_anything_is_read(collection: Collection, folder: Path) -> None:
    with pytest.raises(NotFoundError, match="absent"):
        collection.add([str(folder), str(folder / "absent.txt")])
    assert collection.store.documents() == []


def test_a_relative_path_and_its_absolute_one_are_the_same_file(
    collection: Collection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert collection.add(["sea.txt", str(folder / "sea.txt"), "inner/../sea.txt"]).read == [str(folder / "sea.txt")]
    assert collection.chunks_of("sea.txt")[0].text == SEA.strip()
    assert collection.forget("./sea.txt") == 1


def test_documents_are_forgotten_by_file_and_by_folder(collection: Collection, folder: Path) -> None:
    collection.add([str(folder)])
    assert collection.forget(str(folder / "sea.txt")) == 1
    assert collection.forget(str(folder)) == 2
    assert collection.store.count() == 0
    with pytest.raises(NotFoundError, match=r"sea\.txt"):
        collection.forget("sea.txt")
    with pytest.raises(NotFoundError, match=r"sea\.txt"):
        collection.chunks_of("sea.txt")


def test_the_digest_is_that_of_the_contents(library: Library, folder: Path, collection: Collection) -> None:
    collection.add([str(folder)])
    hashes = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.*"))
    assert collection.digest == hashlib.sha256("\n".join(hashes).encode()).hexdigest()
    other = Collection.create(library, "other")
    other.add([str(folder / "inner"), str(folder / "sea.txt"), str(folder / "food.md")])
    assert other.digest == collection.digest
    (folder / "sea.txt").write_text("changed")
    other.add([str(folder)])
    assert other.digest != collection.digest
    other.close()


def test_a_long_file_is_read_in_parts_of_one_origin(collection: Collection, folder: Path) -> None:
    path = folder / "long.txt"
    path.write_text("".join(f"line {number} of a long text\n" for number in range(80)))
    report = collection.add([str(path)], Limits(part_chars=1_500))
    assert report.read == [str(path)]
    assert len(collection.store.documents()) == 2
    path.write_text("short now")
    assert collection.add([str(path)]).updated == [str(path)]
    assert [one.source for one in collection.store.documents()] == [str(path)]


def test_a_file_read_while_it_is_stored_is_whole_or_not_there(
    collection: Collection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "_HELD", 0)
    collection.add([str(folder)])
    (folder / "sea.txt").write_bytes(SEA.encode() + b"\x00\x01" * 1000)
    (folder / "food.md").write_text("Other food.")
    report = collection.add([str(folder)])
    assert [one.source for one in report.skipped] == [str(folder / "sea.txt")]
    assert relative(report.updated, folder) == ["food.md"]
    assert collection.search("ships", 1)[0].chunk.text == SEA.strip()
    verify(collection.store)


# TF-IDF


def test_tfidf_is_fitted_anew_when_much_is_new(collection: Collection, folder: Path) -> None:
    for number in range(120):
        (folder / f"{number}.txt").write_text(f"about topic{number % 7} and word{number}")
    collection.add([str(folder)])
    first = collection.store.embedder
    (folder / "one.txt").write_text("zebras and giraffes")
    collection.add([str(folder)])
    assert collection.store.embedder == first  # folded in
    assert collection.search("topic3", 1, mode="vector")
    for number in range(40):
        (folder / f"more{number}.txt").write_text(f"zebra number{number}")
    collection.add([str(folder)])
    assert collection.store.embedder != first
    assert "zebra" in collection.search("zebra", 1, mode="vector")[0].chunk.text
    assert collection.store.pending() == 0


def test_another_process_sees_the_new_fit(library: Library, collection: Collection, folder: Path) -> None:
    collection.add([str(folder / "sea.txt")])
    reading = Collection.open(library, "notes")
    assert reading.search("ships", 1, mode="vector")
    collection.add([str(folder)])
    assert reading.search("galaxies", 1, mode="vector")[0].chunk.text == STARS.strip()
    reading.close()


def test_what_has_no_vector_yet_is_found_by_words_and_completed(
    collection: Collection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> Latent:
        raise RuntimeError("stopped here")

    with monkeypatch.context() as patch:
        patch.setattr(Latent, "fit", broken)
        with pytest.raises(RuntimeError):
            collection.add([str(folder)])
    assert collection.store.pending() == 3
    assert collection.search("ships", 1)[0].chunk.text == SEA.strip()
    assert len(collection.add([str(folder)]).unchanged) == 3
    assert collection.store.pending() == 0


# settings


def test_settings_are_kept_and_others_refused(library: Library, folder: Path) -> None:
    given = {"split": {"by": "sentence", "chunk_size": 50}}
    made = Collection.create(library, "notes", given)
    made.add([str(folder / "sea.txt")])
    made.close()
    for again in (None, given, {"embedder": "tfidf"}):
        one = Collection.create(library, "notes", again)
        assert one.settings.split.chunk_size == 50
        one.close()
    with pytest.raises(UsageError, match="made with other settings") as caught:
        Collection.create(library, "notes", {"split": {"chunk_size": 60}})
    assert "50" in caught.value.why
    assert "60" in caught.value.why
    with pytest.raises(UsageError, match="made with other settings"):
        Collection.create(library, "notes", {"embedder": "http://127.0.0.1:1"})


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"embeder": "tfidf"}, ConfigError),
        ({"split": {"by": "verse"}}, ConfigError),
        ({"split": {"chunk_size": 0}}, ConfigError),
        ({"split": {"chunk_size": 5, "chunk_overlap": 9}}, ConfigError),
        ({"split": {"by": "tokens"}}, UsageError),
        ({"embedder": "absent"}, NotFoundError),
    ],
    ids=str,
)
def test_a_collection_that_cannot_be_is_not_made(
    library: Library, given: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        Collection.create(library, "notes", given)
    assert names(library) == []


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".hidden", "x" * 101])
def test_a_name_is_no_path(library: Library, name: str) -> None:
    for use in (Collection.create, Collection.open, remove):
        with pytest.raises(UsageError):
            use(library, name)


def test_collections_are_listed_and_removed(library: Library, collection: Collection) -> None:
    Collection.create(library, "another").close()
    assert names(library) == ["another", "notes"]
    with pytest.raises(NotFoundError, match="absent") as caught:
        Collection.open(library, "absent")
    assert "another, notes" in caught.value.why
    remove(library, "another")
    assert names(library) == ["notes"]
    assert [path.name for path in home(library).iterdir()] == ["notes"]
    with pytest.raises(NotFoundError):
        remove(library, "another")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"embedder": 5}', '{"form": "x"}'])
def test_damaged_settings_are_said(library: Library, collection: Collection, text: str) -> None:
    (collection.folder / "collection.json").write_text(text)
    with pytest.raises(CorruptError, match="settings"):
        Collection.open(library, "notes")


def test_a_setting_that_this_version_does_not_know_is_left_out(library: Library, collection: Collection) -> None:
    (collection.folder / "collection.json").write_text('{"form": 2, "other": 1, "split": {"by": "heading", "new": 2}}')
    with closing(Collection.open(library, "notes")) as found:
        assert found.settings.split.by == "heading"


def test_settings_of_a_newer_version_are_no_damage(library: Library, collection: Collection) -> None:
    (collection.folder / "collection.json").write_text('{"form": 99, "embedder": ["a list, by then"]}')
    with pytest.raises(NewerError, match="newer seedbed"):
        Collection.open(library, "notes")


def test_a_missing_store_is_no_empty_one(library: Library, collection: Collection) -> None:
    (collection.folder / "store.sqlite").rename(collection.folder / "moved")
    with pytest.raises(CorruptError, match="store of the collection notes is missing"):
        Collection.open(library, "notes")
    assert not (collection.folder / "store.sqlite").exists()


def test_a_collection_removed_while_it_is_read_into_is_said(library: Library, folder: Path) -> None:
    def add() -> None:
        with adding(library, "other", {}) as made:
            made.add([str(folder)])
            remove(library, "other")

    with pytest.raises(NotFoundError, match="the collection other is gone"):
        add()
    assert "other" not in names(library)


def test_a_collection_removed_meanwhile_is_not_made_again_by_its_settings(library: Library) -> None:
    with closing(Collection.create(library, "other", {"embedder": "none"})) as opened:
        remove(library, "other")
        with pytest.raises(NotFoundError, match="the collection other is gone"):
            opened.embed("tfidf")
    assert "other" not in names(library)


def test_missing_settings_are_said_and_can_be_written_anew(library: Library, collection: Collection) -> None:
    (collection.folder / "collection.json").unlink()
    assert names(library) == ["notes"]
    with pytest.raises(CorruptError, match="settings of the collection notes are missing"):
        Collection.open(library, "notes")
    Collection.create(library, "notes").close()


# a model as the embedder


def test_a_model_embeds_and_cuts_by_its_tokens(library: Library, folder: Path) -> None:
    torch.set_num_threads(1)
    add_model(library, "tiny", 5, window=64)
    given = {"embedder": "tiny", "split": {"by": "tokens", "chunk_size": 20}}
    made = Collection.create(library, "notes", given)
    made.add([str(folder)])
    assert made.store.pending() == 0
    assert made.store.embedder[0] == f"model-{library.get('tiny', 'model').id[:16]}"
    chunks = made.chunks_of(str(folder / "sea.txt"))
    assert max(len(chunk.text) for chunk in chunks) <= 20  # a token is a byte
    assert made.search(chunks[0].text, 1, mode="vector")[0].chunk == chunks[0]
    made.close()


def test_another_model_under_the_same_name_is_refused(library: Library, folder: Path) -> None:
    torch.set_num_threads(1)
    add_model(library, "tiny", 5, window=64)
    made = Collection.create(library, "notes", {"embedder": "tiny"})
    made.add([str(folder / "sea.txt")])
    made.close()
    add_model(library, "tiny", 6, window=64)
    again = Collection.open(library, "notes")
    with pytest.raises(UsageError, match="not made by"):
        again.search("ships", 1)
    assert again.search("ships", 1, mode="words")
    again.close()


# a server


def test_a_server_is_brought_up_to_date(collection: Collection, folder: Path, tmp_path: Path) -> None:
    """Another store takes the server's place."""
    server = Store(tmp_path / "server")
    for change in (lambda: None, (folder / "sea.txt").unlink, lambda: (folder / "new.txt").write_text("News.")):
        change()
        collection.add([str(folder)])
        synchronize(collection.store, server)
        ours = {chunk.id for one in collection.store.documents() for chunk in collection.chunks_of(one.source)}
        assert server.count() == len(ours)
        assert {chunk.id for chunk in server.get(list(ours))} == ours
        rows = collection.store.vectors_of(list(collection.store.rows(list(ours)).values()))
        for vector in rows.values():
            assert server.search(vector, 1)[0].score == pytest.approx(1, abs=1e-5)
    assert server.search(next(iter(rows.values())), 1)[0].chunk.id in ours


def test_what_is_added_and_forgotten_is_so_on_the_server(
    library: Library, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Store(tmp_path / "server")
    monkeypatch.setattr("seedbed.rag.collection.open_server", lambda *place: server)
    made = Collection.create(library, "notes", {"server": "qdrant:in the test's place"})
    made.add([str(folder)])
    assert server.count() == made.store.count() > 1
    made.forget(str(folder / "sea.txt"))
    assert server.count() == made.store.count() > 0
    ours = {chunk.id for one in made.store.documents() for chunk in made.chunks_of(one.source)}
    assert {chunk.id for chunk in server.get(list(ours))} == ours
    made.close()


# disks, kills, processes


def test_a_full_disk_loses_nothing(collection: Collection, folder: Path, tmp_path: Path) -> None:
    collection.add([str(folder)])
    many = tmp_path / "many"
    many.mkdir()
    for number in range(40):
        (many / f"{number}.txt").write_text("".join(f"word{number + at % 99} " for at in range(3000)))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
    try:
        with pytest.raises(CapacityError, match="disk is full"):
            collection.add([str(many)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(collection.add([str(folder)]).unchanged) == 3
    assert collection.search("ships", 1)[0].chunk.text == SEA.strip()
    report = collection.add([str(many)])
    assert len(report.read) + len(report.unchanged) == 40
    verify(collection.store)


ADD = """
import sys
from pathlib import Path
from seedbed.core.artifacts import Library
from seedbed.rag.collection import Collection

print("start", flush=True)
made = Collection.create(Library(Path(sys.argv[1])), "notes")
made.add(sys.argv[2:])
made.close()
"""


@pytest.mark.slow
def test_two_processes_add_at_once(library: Library, folder: Path) -> None:
    for half in ("left", "right"):
        (folder / half).mkdir()
        for number in range(30):
            (folder / half / f"{number}.txt").write_text(f"text {half} number{number}")
    commands = [[sys.executable, "-c", ADD, str(library.root), str(folder / half)] for half in ("left", "right")]
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]
    assert [process.wait() for process in running] == [0, 0]
    found = Collection.open(library, "notes")
    assert len(found.store.documents()) == 60
    assert found.store.pending() == 0
    assert found.search("left number7", 1)[0].chunk.source.endswith("left/7.txt")
    found.close()


@pytest.mark.slow
def test_a_killed_command_leaves_whole_documents(library: Library, tmp_path: Path) -> None:
    """20 times kill -9 at another moment of `add`; then it is run to its end."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(1500):
        lines = [f"line {line} of text {number} says word{line * number}" for line in range(1 + number % 90)]
        (folder / f"{number}.txt").write_text("\n\n".join(lines))
    whole = {path.name: path.read_text() for path in folder.iterdir()}
    command = [sys.executable, "-c", ADD, str(library.root), str(folder)]
    seen = set()
    for trial in range(20):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        process.stdout.readline()
        threading.Event().wait(0.02 + 0.08 * trial)  # the moment is what is tried
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        if names(library):
            found = Collection.open(library, "notes")
            verify(found.store)
            for one in found.store.documents():
                text, chunks = whole[Path(one.source).name], found.store.chunks_of(one.source)
                assert one.chunks == len(chunks) > 0
                assert chunks[0].start == 0
                assert chunks[-1].end == len(text)
                assert all(chunk.text == text[chunk.start : chunk.end] for chunk in chunks)
            seen.add(len(found.store.documents()))
            found.close()
    last = Collection.create(library, "notes")
    last.add([str(folder)])
    assert len(last.store.documents()) == 1500
    assert last.store.pending() == 0
    assert len(seen) > 2  # it was killed at different states
    last.close()


def test_settings_are_readable(collection: Collection) -> None:
    found = json.loads((collection.folder / "collection.json").read_text())
    assert found["embedder"] == "tfidf"
    assert found["split"] == {"by": "paragraph", "chunk_size": 1000, "chunk_overlap": 0, "separator": "\n\n"}
