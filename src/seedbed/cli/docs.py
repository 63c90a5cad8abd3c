"""`seedbed docs`: add documents to a collection, list and show them, search them, remove them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, closing, suppress
from typing import TYPE_CHECKING, Any

import click

from seedbed.cli import options
from seedbed.cli.common import confirm, print_json, print_list
from seedbed.core.artifacts import Library
from seedbed.core.errors import CorruptError, NewerError, UsageError
from seedbed.core.progress import say
from seedbed.core.terminal import echo
from seedbed.core.units import iso_time
from seedbed.documents.encoding import check_encoding, describe
from seedbed.documents.splitting.split import By
from seedbed.search.modes import Mode

if TYPE_CHECKING:
    from seedbed.documents.document import Chunk
    from seedbed.documents.readers import Skipped
    from seedbed.rag.collection import Collection
    from seedbed.rag.ingest import IngestReport
    from seedbed.search.contracts import Hit

_SIGNS = {"!=": "ne", ">=": "gte", "<=": "lte", "=": "eq", ">": "gt", "<": "lt"}
_CONDITION = re.compile(r"(.+?)(!=|>=|<=|=|>|<)(.*)", re.DOTALL)
_SHOWN_SKIPS = 20


@options.group("docs")
def docs_command() -> None:
    """Collections of your own documents, to search and to ask.

    $ seedbed docs add guide docs/ notes.pdf
    $ seedbed docs search guide "how to install"
    $ seedbed ask "How do I install it?" --docs guide
    """


@docs_command.command("add")
@options.collection
@click.argument("sources", nargs=-1, metavar="[PATH|URL...]")
@click.option("--sql", "database", metavar="ADDRESS", help="Add rows of a database: sqlite:///FILE or postgresql://….")
@click.option("--query", metavar="SELECT", help="With --sql: one SELECT that gives the rows.")
@click.option("--id", "column", metavar="COLUMN", help="With --sql: identifies a row. [the whole row]")
@click.option("--embedder", metavar="tfidf|none|MODEL|URL", help="Makes the vectors; also URL#MODEL. [tfidf]")
@options.choice("--splitter", "by", of=By, text="Where documents are cut. [paragraph]")
@click.option("--chunk-size", type=click.IntRange(min=1), help="Characters (or tokens) of a chunk at most. [1000]")
@click.option("--chunk-overlap", type=click.IntRange(min=0), help="How much of a chunk the next one repeats. [0]")
@click.option("--server", metavar="KIND:PLACE", help="Search vectors on a server, such as qdrant:http://host:6333.")
@click.option("--encoding", metavar="NAME", help="Encoding of these text files. [found for each]")
@options.limits
@options.no_ignore
@options.follow_links
@click.option("--allow-private", is_flag=True, help="Read web pages from this machine and private networks too.")
@options.common_flags
def add_command(
    collection: str,
    sources: tuple[str, ...],
    overrides: tuple[str, ...],
    ignore: bool,
    follow_links: bool,
    allow_private: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Add files, folders, web pages or `stdlib` (this Python's own documentation) to COLLECTION; or a database's rows.

    Of a folder, hidden files, build folders, what .gitignore files name, and links that leave it are left out; how
    many is said, and --no-ignore and --follow-links take them in. What has not changed is not read again; files deleted
    from a folder, and rows that a query no longer gives, are removed from the collection. A new collection keeps its
    splitter and server, and its embedder until `docs embed`.

    $ seedbed docs add guide docs/ notes.pdf https://example.org/manual.html
    $ seedbed docs add code src/ --splitter heading --embedder http://127.0.0.1:8000
    $ seedbed docs add letters old/*.txt --encoding cp1250
    $ seedbed docs add shop --sql sqlite:///shop.db --query "SELECT id, name, about FROM items" --id id
    """
    from seedbed.app.documents import adding, check_read
    from seedbed.core import config
    from seedbed.documents.file_walk import WalkRules
    from seedbed.documents.limits import Limits

    limits = config.load(Limits, {}, overrides=overrides, environment={})
    database, query, column = (settings.pop(name) for name in ("database", "query", "column"))
    encoding = settings.pop("encoding") or ""
    _check(sources, database, query, column)  # before a collection is made
    if encoding:
        check_encoding(encoding)
    given = {key: value for key, value in settings.items() if value is not None}
    cut = {key: given.pop(key) for key in ("by", "chunk_size", "chunk_overlap") if key in given}
    with adding(Library(), collection, given | ({"split": cut} if cut else {})) as made:
        if database is None:
            rules = WalkRules(ignore, follow_links)
            report = made.add(sources, limits, allow_private=allow_private, rules=rules, encoding=encoding)
        else:
            report = made.add_rows(database, query, column or "", limits)
        if as_json:
            lost = {key: [_lost(one) for one in getattr(report, key)] for key in ("skipped", "partly", "left_out")}
            print_json({**_summary(made), **vars(report), **lost})
        else:
            _print_report(made, report)
        check_read(report, collection, is_empty=not made.store.count())


@docs_command.command("embed")
@options.collection
@click.option("--embedder", metavar="tfidf|MODEL|URL", help="Makes the vectors; also URL#MODEL. [its own]")
@options.common_flags
def embed_command(collection: str, embedder: str | None, as_json: bool) -> None:
    """Make the vectors that COLLECTION lacks; with another embedder than its own, all of them.

    It may be stopped at any time: what was made is kept, and the same command goes on. Until nine chunks in ten have a
    vector, searches are by words, and say so.

    $ seedbed docs add guide docs/ --embedder none
    $ seedbed docs embed guide --embedder tfidf
    """
    with _opened(collection) as found:
        found.embed(embedder)
        if as_json:
            print_json(_summary(found))
        else:
            echo(f"{collection}: {found.store.count():,} chunks, each with a vector ({found.settings.embedder})")


@docs_command.command("ls")
@options.common_flags
def ls_command(as_json: bool) -> None:
    """List the collections.

    $ seedbed docs ls
    """
    from seedbed.rag.collection import Collection, names

    library, rows = Library(), []
    for name in names(library):
        try:
            with closing(Collection.open(library, name)) as found:
                rows.append(_summary(found))
        except (CorruptError, NewerError, UsageError) as error:
            say(f"cannot be read: {error.what}: {error.why}")
            rows.append({"name": name, "problem": error.what})
    print_list(rows, ("name", "documents", "chunks", "bytes", "embedder", "digest"), as_json)


@docs_command.command("show")
@options.collection
@click.argument("source", required=False)
@options.common_flags
def show_command(collection: str, source: str | None, as_json: bool) -> None:
    """Show what is in COLLECTION, or the chunks of one document, SOURCE.

    $ seedbed docs show guide
    $ seedbed docs show guide docs/install.md
    """
    with _opened(collection) as found:
        if source is not None:
            chunks = found.chunks_of(source)
            if (decoded := describe(chunks[0].metadata) if chunks else "") and not as_json:
                say(f"read as {decoded}")
            _show_chunks(chunks, as_json)
            return
        about = _summary(found)
        stored = found.store.documents()
        sources = [
            vars(one) | {"added": iso_time(one.added), "encoding": describe(one.decoded) or "utf-8"} for one in stored
        ]
    if as_json:
        print_json(about | {"sources": sources})
        return
    print_list(sources, ("source", "title", "chunks", "added", "encoding", "sha256"), as_json)
    if pending := about["without_vector"]:
        say(f"{pending:,} chunks have no vector yet, and are found by words: `seedbed docs embed {collection}`")


@docs_command.command("search")
@options.collection
@click.argument("query")
@options.limit(5, "Passages to find.")
@options.mode
@click.option("--where", multiple=True, metavar="FIELD=VALUE", help="Only where this holds; also != > >= < <=.")
@click.option("--diversity", type=click.FloatRange(0, 1), default=0.0, help="Prefer passages unlike each other. [0]")
@click.option("--copies", is_flag=True, help="Also list passages of nearly the same text, instead of their number.")
@options.common_flags
def search_command(
    collection: str,
    query: str,
    limit: int,
    mode: Mode,
    where: tuple[str, ...],
    diversity: float,
    copies: bool,
    as_json: bool,
) -> None:
    """Find the passages of COLLECTION that fit QUERY.

    A VALUE is a number, true, false or a text ("2020" with quotes is a text). Fields are `source`, `page`, `heading`
    and those that the readers found, such as a mail's `from`.

    $ seedbed docs search guide "how to install" --limit 3
    $ seedbed docs search mails "invoice" --where 'year>=2020' --mode words
    """
    with _opened(collection) as found:
        hits = found.search(query, limit, mode=mode, where=_filter(where), diversity=diversity, copies=copies)
        if (remark := found.remark(mode)) and not as_json:
            say(remark)
    if as_json:
        print_json([_record(hit) for hit in hits])
        return
    for rank, hit in enumerate(hits, start=1):
        heading = f", {hit.chunk.heading}" if hit.chunk.heading else ""
        echo(
            f"[{rank}] {hit.chunk.source}{_page(hit.chunk)}{heading}  ({hit.score:.4f})\n{_indented(hit.chunk.text)}\n"
        )
    if not hits:
        say("nothing found")
    if hidden := sum(len(hit.copies) for hit in hits):
        one = next(hit.copies[0] for hit in hits if hit.copies)
        say(f"({hidden} more have nearly the same text, such as {one}: --copies lists them)")


def _record(hit: Hit) -> dict[str, Any]:
    about = {"score": hit.score, "mode": hit.mode, "copies": hit.copies, "id": hit.chunk.id}
    return {**about, **vars(hit.chunk)}


@docs_command.command("rm")
@options.collection
@click.argument("source", required=False)
@options.yes
@options.common_flags
def rm_command(collection: str, source: str | None, yes: bool, as_json: bool) -> None:
    """Remove COLLECTION, or only SOURCE (a document, a file, all of a folder) from it; asks first. Your own files stay.

    $ seedbed docs rm guide docs/old.md
    $ seedbed docs rm guide --yes
    """
    from seedbed.rag.collection import names, remove
    from seedbed.rag.ingest import origins_of

    library = Library()
    removed: dict[str, Any] = {"removed": source or collection}
    if source is None:
        if collection in names(library):
            confirm(f"remove the collection {collection} with all its documents?", yes)
        remove(library, collection)
    else:
        with _opened(collection) as found:
            if origins_of(found.store, source):
                confirm(f"remove {source} from {collection}?", yes)
            removed["documents"] = found.forget(source)
    if as_json:
        print_json(removed)
    say(f"removed {source or collection}")


def _opened(name: str) -> AbstractContextManager[Collection]:
    from seedbed.rag.collection import Collection

    return closing(Collection.open(Library(), name))


def _check(sources: tuple[str, ...], database: str | None, query: str | None, column: str | None) -> None:
    """Refuse what cannot be added."""
    from seedbed.documents.readers.sql import check_query
    from seedbed.rag.ingest import check_paths

    if database is None and query is None and column is None:
        if not sources:
            raise UsageError("there is nothing to add", why="no path or address is given", fix="give one, or --sql")
        check_paths(sources)
    elif database is None or query is None or sources:
        why = "paths are added without --sql" if sources else "--sql and --query are not both given"
        fix = "write --sql ADDRESS --query SELECT, with no path"
        raise UsageError("rows need a database and a query", why=why, fix=fix)
    else:
        check_query(database, query)


def _filter(texts: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        parts = _CONDITION.fullmatch(text)
        if parts is None:
            fix = "write FIELD=VALUE, or with != > >= < <="
            raise UsageError(f"--where {text} cannot be read", why="there is no comparison in it", fix=fix)
        if not parts[3].strip():
            fix = f"""write a value after {parts[2]}, or "" for an empty text"""
            raise UsageError(f"--where {text} cannot be read", why="there is no value to compare with", fix=fix)
        value: Any = parts[3].strip()
        with suppress(ValueError):
            read = json.loads(value)
            value = read if isinstance(read, (str, int, float)) else value
        found.setdefault(parts[1].strip(), {})[_SIGNS[parts[2]]] = value
    return found


def _summary(collection: Collection) -> dict[str, Any]:
    documents = collection.store.documents()
    return {
        "name": collection.name,
        "documents": len(documents),
        "chunks": collection.store.count(),
        "without_vector": collection.store.pending(),
        "bytes": collection.size,
        "embedder": collection.settings.embedder,
        "digest": collection.digest,
    }


def _print_report(collection: Collection, report: IngestReport) -> None:
    from seedbed.documents.file_walk import left_lines

    for label, found in (("read in part", report.partly), ("skipped", report.skipped)):
        for one in found[:_SHOWN_SKIPS]:
            say(f"{label} {one.source}: {one.reason}")
        if len(found) > _SHOWN_SKIPS:
            say(f"{label} {len(found) - _SHOWN_SKIPS} more (--json lists them)")
    for line in left_lines(Counter(one.reason for one in report.left_out)):
        say(line)
    _print_decoded(report.decoded)
    counts = {key: len(value) for key, value in vars(report).items() if key not in ("partly", "left_out", "decoded")}
    counts["of them in part"] = len({one.source for one in report.partly})
    say(", ".join(f"{count:,} {key}" for key, count in counts.items() if count) or "no document in what was named")
    facts = _summary(collection)
    echo(f"{collection.name}: {facts['documents']:,} documents, {facts['chunks']:,} chunks, {facts['embedder']}")


def _lost(one: Skipped) -> dict[str, str]:
    return {"source": one.source, "reason": one.reason}


def _print_decoded(decoded: Sequence[Mapping[str, Any]]) -> None:
    """Name the files whose encoding was guessed, or that lost bytes in it."""
    told = [one for one in decoded if one["encoding_by"] == "guessed" or one.get("replaced")]
    for one in told[:_SHOWN_SKIPS]:
        say(f"{one['source']}: read as {describe(one)}")
    if len(told) > _SHOWN_SKIPS:
        say(f"{len(told) - _SHOWN_SKIPS:,} more files in a guessed encoding (--json lists them)")
    if told:
        say("another encoding is set by adding the file again with --encoding NAME")


def _show_chunks(chunks: Sequence[Chunk], as_json: bool) -> None:
    if as_json:
        print_json([{"id": chunk.id, **vars(chunk)} for chunk in chunks])
        return
    for chunk in chunks:
        heading = f"  {chunk.heading}" if chunk.heading else ""
        echo(f"[{chunk.start}-{chunk.end}{_page(chunk)}]{heading}\n{_indented(chunk.text)}\n")


def _page(chunk: Chunk) -> str:
    return f", page {chunk.page}" if chunk.page is not None else ""


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
