"""The reader of a file: chosen by the suffix of its name, else by how it begins."""

from __future__ import annotations

from seedbed.documents.encoding import looks_binary

CODE = frozenset(
    {".py", ".pyi", ".js", ".mjs", ".ts", ".tsx", ".jsx", ".c", ".h", ".cc", ".cpp", ".cxx", ".hpp", ".cu", ".java"}
    | {".kt", ".scala", ".go", ".rs", ".rb", ".php", ".pl", ".lua", ".r", ".jl", ".swift", ".cs", ".sh", ".bash"}
    | {".sql", ".css", ".toml", ".yaml", ".yml", ".ini", ".cfg"}
)
RECORDS = frozenset({".json", ".jsonl", ".ndjson"})
HEAD_BYTES = 4096
"""As much of a file's beginning as :func:`format_of` wants to see."""
FORMATS = {
    **dict.fromkeys(CODE, "text:read"),
    **dict.fromkeys((".txt", ".text", ".log", ".tex", ".srt"), "text:read"),
    **dict.fromkeys((".md", ".markdown"), "text:read_markdown"),
    ".rst": "text:read_rst",
    **dict.fromkeys((".py", ".pyi"), "text:read_python"),
    **dict.fromkeys((".html", ".htm", ".xhtml"), "html:read"),
    ".csv": "table:read",
    ".tsv": "table:read_tabs",
    ".json": "records:read_json",
    **dict.fromkeys((".jsonl", ".ndjson"), "records:read_lines"),
    ".eml": "mail:read",
    ".pdf": "pdf:read",
    ".docx": "word:read",
    **{suffix: f"office:read_{suffix[1:]}" for suffix in (".pptx", ".xlsx", ".xls", ".epub", ".msg")},
}
"""Suffix → "module:function" under this package; modules are imported when they are needed."""
ISOLATED = frozenset({"pdf", "word", "office"})
"""Always parsed in a process of their own: containers and binary formats."""
WHOLE = frozenset({"html", "mail"}) | ISOLATED
"""Cannot be read in parts. A large one of these is parsed in a process of its own, too."""
_TYPES = {
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "text/markdown": ".md",
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "application/json": ".json",
    "application/ld+json": ".json",
    "application/x-ndjson": ".jsonl",
    "application/pdf": ".pdf",
    "message/rfc822": ".eml",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
}


def format_of(suffix: str, head: bytes) -> str | None:
    """Return the format of a file with this suffix (lower case, with its dot) that begins so; None if unknown."""
    return FORMATS.get(suffix) or _by_content(head)


def format_of_type(content_type: str) -> str | None:
    """Return the format of an HTTP content type; any other kind of text is plain text."""
    suffix = _TYPES.get(content_type)
    if suffix is None and content_type.startswith("text/"):
        suffix = ".txt"
    return FORMATS[suffix] if suffix else None


def is_whole(name: str) -> bool:
    """Return whether a format can only be parsed as a whole."""
    return name.partition(":")[0] in WHOLE or name == "records:read_json"


def is_isolated(name: str) -> bool:
    """Return whether a format is always parsed in a process of its own."""
    return name.partition(":")[0] in ISOLATED


def _by_content(head: bytes) -> str | None:
    if head.startswith(b"%PDF-"):
        return FORMATS[".pdf"]
    if head.startswith(b"PK\x03\x04"):
        return FORMATS[".docx"] if b"word/" in head or b"[Content_Types].xml" in head else None
    if looks_binary(head) and not head.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
        return None
    beginning = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return FORMATS[".html" if beginning.startswith((b"<!doctype html", b"<html")) else ".txt"]
