"""The SQLite file of a store: its tables, and how it is made and checked.

A row of ``chunks`` is never changed, only deleted and inserted again under a number that no row had before: what is
remembered about a row stays true as long as the row is there. Triggers keep the full-text index and the vectors in step
with the chunks.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from seedbed.core.errors import DataError
from seedbed.core.files import sync_directory
from seedbed.core.sqlite import Connection
from seedbed.vectors.words import TOKENIZER

MARK = 0x5EEDBED
"""In the file's header: the file is a store of ours."""
VERSION = 1
_PAGE = 16_384  # ten vectors of 384 numbers; the usual 4,096 would hold two
_REPAIR = "put back a copy, or remove the collection and add its documents again"
_SCHEMA = f"""
CREATE TABLE settings (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE documents (
    source TEXT PRIMARY KEY, origin TEXT NOT NULL, sha256 TEXT NOT NULL, title TEXT NOT NULL, added REAL NOT NULL)
    WITHOUT ROWID;
CREATE INDEX documents_from ON documents (origin);
CREATE TABLE chunks (
    row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, source TEXT NOT NULL,
    start INTEGER NOT NULL, end INTEGER NOT NULL, page INTEGER, heading TEXT NOT NULL,
    metadata TEXT NOT NULL, text TEXT NOT NULL);
CREATE INDEX chunks_of ON chunks (source, start);
CREATE TABLE mirrored (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE vectors (row INTEGER PRIMARY KEY, vector BLOB NOT NULL);
CREATE INDEX vector_rows ON vectors (row);
CREATE VIRTUAL TABLE words USING fts5(
    text, heading, content='chunks', content_rowid='row', tokenize='{TOKENIZER}');
CREATE TRIGGER added AFTER INSERT ON chunks BEGIN
    INSERT INTO words (rowid, text, heading) VALUES (new.row, new.text, new.heading);
END;
CREATE TRIGGER deleted AFTER DELETE ON chunks BEGIN
    INSERT INTO words (words, rowid, text, heading) VALUES ('delete', old.row, old.text, old.heading);
    DELETE FROM vectors WHERE row = old.row;
END;
PRAGMA application_id = {MARK};
PRAGMA user_version = {VERSION};
"""


class Database(Connection):
    """The file at a path, made when there is none; ``":memory:"`` is kept nowhere.

    Raises:
        CorruptError: it is damaged, or no store. DataError: it is of a newer version.
    """

    def __init__(self, path: Path | str) -> None:
        if str(path) != ":memory:" and not Path(path).exists():
            self._create(Path(path))
        super().__init__(path, _REPAIR)
        try:
            with self.errors():
                self._prepare()
        except BaseException:
            self.close()
            raise

    def version(self) -> int:
        """Another number after another connection has written."""
        with self._lock, self.errors():
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def verify(self) -> None:
        """Read the whole file. Raises CorruptError where it is damaged."""
        with self._lock, self.errors():
            found = self._connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if found != "ok":
                raise self.damaged(str(found))
            self._connection.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")

    def _prepare(self) -> None:
        run = self._connection.execute
        run("PRAGMA synchronous = NORMAL")  # with the log: a power cut may lose the last ones, never half
        run("PRAGMA cache_size = -65536")
        if str(self.path) == ":memory:":
            self._connection.executescript(_SCHEMA)
        if run("PRAGMA application_id").fetchone()[0] != MARK:
            raise self.damaged("it is an SQLite file, but none of seedbed's stores")
        version = run("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            why = f"{self.path} has version {version} of the tables, this seedbed knows {VERSION}"
            raise DataError("the store was written by a newer seedbed", why=why, fix="update seedbed")
        for name, kind in (("instances", "instance"), ("totals", "row")):
            run(f"CREATE VIRTUAL TABLE temp.{name} USING fts5vocab(main, words, '{kind}')")

    @staticmethod
    def _create(path: Path) -> None:
        """Make an empty store aside and give it its name at the end; the first of two processes wins."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
        try:
            with Connection(draft, _REPAIR) as made:
                made.run(f"PRAGMA page_size = {_PAGE}; PRAGMA journal_mode = WAL; {_SCHEMA}")
            with suppress(FileExistsError):
                os.link(draft, path)
        finally:
            for leftover in path.parent.glob(f"{draft.name}*"):
                leftover.unlink(missing_ok=True)
        sync_directory(path.parent)
