"""The answer to a database query, row by row.

Reading only, behind three fences. The query must be one SELECT (or WITH … SELECT) by its words; the connection is
read-only (SQLite: ``mode=ro``, ``query_only`` and an authorizer that allows nothing but reading; PostgreSQL: a
read-only transaction); and rows and time are capped. Others than these two databases are refused: there we know no
such fence. A role that may do no more than it has to is still the best one: functions of the server can have effects
that no fence here sees. The query is the caller's own and must never be built from a model's answer unseen.
"""

from __future__ import annotations

import importlib
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.core.errors import NotFoundError, UsageError
from seedbed.documents.limits import Limits, too_large, unreadable
from seedbed.documents.readers import Skipped

_TOKEN = re.compile(
    r"""--[^\n]* | /\*.*?(?:\*/|\Z)                         # comments
      | (?P<quoted>'(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*` | \[[^\]]*\] | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
      | (?P<word>[^\W\d]\w*) | (?P<end>;) | (?P<other>\S)""",
    re.VERBOSE | re.DOTALL,
)
_CHANGES = "insert update delete merge into drop alter create truncate reindex refresh vacuum copy load"
_CONTROLS = "grant revoke attach detach pragma call execute exec do lock listen notify set reset"
_FORBIDDEN = frozenset(f"{_CHANGES} {_CONTROLS}".split())
_AUTHORIZED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}
_TICKS = 10_000  # steps of SQLite's machine between two looks at the clock
_MAX_CELL = 10_000_000  # bytes


@dataclass(frozen=True)
class SqlRow:
    """A row of an answer; values that are bytes are None, for they are no text."""

    columns: tuple[str, ...]
    values: tuple[object, ...]


def select(database: str, query: str, limits: Limits) -> Iterator[SqlRow | Skipped]:
    """Yield the rows of a query; after as many as ``limits.rows``, what was left out.

    Args:
        database: an SQLAlchemy address: ``sqlite:///folder/file.db``, ``postgresql+psycopg://…``.
        query: one SELECT.

    Raises:
        UsageError: it is no single SELECT; the database is of another kind; SQLAlchemy is not installed.
        NotFoundError: there is no such SQLite file.
        DataError: the database refuses the query.
        CapacityError: it takes more than ``limits.query_seconds``.
    """
    require_select(query)
    sqlalchemy = _library()
    try:
        with closing(_engine(sqlalchemy, database, limits).connect()) as connection:
            found = connection.exec_driver_sql(query, execution_options={"stream_results": True})
            columns = tuple(found.keys())
            for number, row in enumerate(found):
                if number == limits.rows:
                    yield Skipped(query, f"rows after the first {limits.rows:,} (limit `rows`)")
                    return
                texts = (None if isinstance(value, (bytes, memoryview)) else value for value in row)
                yield SqlRow(columns, tuple(texts))
    except sqlalchemy.exc.SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error)
        if re.search("interrupted|statement timeout", reason):
            raise too_large(query, f"it takes more than {limits.query_seconds:g} s", "query_seconds") from error
        raise unreadable(query, reason, "correct the query, or the address of the database") from error


def check_query(database: str, query: str) -> None:
    """Refuse what can be refused without asking the database. Raises UsageError, NotFoundError as :func:`select`."""
    require_select(query)
    url = _address(_library(), database)
    if url.get_backend_name() == "sqlite":
        _existing(url)


def name_of(database: str) -> str:
    """Return the name of a database in sources: an SQLite file's path; else kind, host and name, but nobody's password.

    Raises UsageError: it is no address, or of another kind; SQLAlchemy is not installed.
    """
    url = _address(_library(), database)
    if url.get_backend_name() == "sqlite":
        return os.path.abspath(str(url.database or ""))  # noqa: PTH100 (a link keeps its name)
    port = f":{url.port}" if url.port else ""
    return f"{url.get_backend_name()}://{url.host or 'localhost'}{port}/{url.database or ''}"


def require_select(query: str) -> None:
    """Raise UsageError for whatever is not one SELECT. Words inside quotes and comments do not count."""
    words: list[str] = []
    ended = False
    for token in _TOKEN.finditer(query):
        if token["word"] or token["quoted"] or token["other"]:
            if ended:
                raise _refused("it is more than one statement")
            words.append((token["word"] or "").lower())
        ended = ended or bool(token["end"])
    first = next(filter(None, words), "")
    if first not in ("select", "with"):
        raise _refused(f"it begins with {first.upper() or 'nothing'}")
    if found := sorted(_FORBIDDEN.intersection(words)):
        raise _refused(f"it says {found[0].upper()}")


def _library() -> Any:
    try:
        return importlib.import_module("sqlalchemy")
    except ImportError as error:
        why, fix = "SQLAlchemy is not installed", "pip install 'seedbed[sql]'"
        raise UsageError("database queries need another library", why=why, fix=fix) from error


def _address(sqlalchemy: Any, database: str) -> Any:
    try:
        url = sqlalchemy.engine.make_url(database)
        kind = url.get_backend_name()
    except sqlalchemy.exc.ArgumentError as error:
        fix = "write it as sqlite:///folder/file.db"
        raise UsageError("this is no address of a database", why=str(error), fix=fix) from error
    if kind not in ("sqlite", "postgresql"):
        why, fix = "only SQLite and PostgreSQL can be opened read-only here", "export the rows as CSV and read that"
        raise UsageError(f"queries to {kind} are not supported", why=why, fix=fix)
    return url


def _engine(sqlalchemy: Any, database: str, limits: Limits) -> Any:
    url, pool = _address(sqlalchemy, database), sqlalchemy.pool.NullPool
    if url.get_backend_name() == "sqlite":
        return sqlalchemy.create_engine("sqlite://", creator=lambda: _open_sqlite(url, limits), poolclass=pool)
    engine = sqlalchemy.create_engine(url, poolclass=pool, execution_options={"postgresql_readonly": True})
    milliseconds = int(limits.query_seconds * 1000)

    @sqlalchemy.event.listens_for(engine, "begin")  # type: ignore[untyped-decorator]
    def _cap(connection: Any) -> None:
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds}")

    return engine


def _existing(url: Any) -> Path:
    file = Path(str(url.database or ""))
    if not file.is_file():
        what = f"there is no database {url.database or '(in memory)'}"
        raise NotFoundError(what, why="no such file", fix="check the path")
    return file


def _open_sqlite(url: Any, limits: Limits) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{_existing(url).absolute().as_uri()}?mode=ro", uri=True)
    connection.execute("PRAGMA query_only = ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_CELL)
    connection.set_authorizer(_authorize)
    deadline = time.monotonic() + limits.query_seconds
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _TICKS)
    return connection


def _authorize(action: int, first: str | None, second: str | None, *_: object) -> int:
    """Allow reading, functions, and SQLite's own inner requests.

    SQLAlchemy asks for ``read_uncommitted``, a full-text table for ``data_version``; and declaring such a table's
    columns is seen as an update of the schema, though nothing is written, nor could be in a read-only file.
    """
    allowed = (
        action in _AUTHORIZED
        or (action == sqlite3.SQLITE_FUNCTION and second != "load_extension")
        or (action == sqlite3.SQLITE_PRAGMA and first in ("data_version", "read_uncommitted") and second is None)
        or (action == sqlite3.SQLITE_UPDATE and first == "sqlite_master")
    )
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _refused(why: str) -> UsageError:
    return UsageError("only a single SELECT may be run", why=why, fix="write one query that reads and changes nothing")
