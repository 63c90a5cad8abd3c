"""The formats that are read, by the suffix of a file's name and by HTTP's content type."""

from __future__ import annotations

CODE = frozenset(
    {".py", ".pyi", ".js", ".mjs", ".ts", ".tsx", ".jsx", ".c", ".h", ".cc", ".cpp", ".cxx", ".hpp", ".cu", ".java"}
    | {".kt", ".scala", ".go", ".rs", ".rb", ".php", ".pl", ".lua", ".r", ".jl", ".swift", ".cs", ".sh", ".bash"}
    | {".sql", ".css", ".toml", ".yaml", ".yml", ".ini", ".cfg"}
)
RECORDS = frozenset({".json", ".jsonl", ".ndjson"})
FORMATS = {
    **dict.fromkeys(CODE, "text:read"),
    **dict.fromkeys((".txt", ".text", ".log", ".tex"), "text:read"),
    **dict.fromkeys((".md", ".markdown"), "text:read_markdown"),
    ".rst": "text:read_rst",
    **dict.fromkeys((".py", ".pyi"), "text:read_python"),
    **dict.fromkeys((".html", ".htm", ".xhtml"), "html:read"),
    ".csv": "table:read",
    ".tsv": "table:read_tabs",
    ".json": "records:read_json",
    **dict.fromkeys((".jsonl", ".ndjson"), "records:read_lines"),
    ".eml": "mail:read",
    ".srt": "subtitles:read",
    ".pdf": "pdf:read",
    **dict.fromkeys((".docx", ".docm", ".dotx", ".dotm"), "word:read"),
    **dict.fromkeys((".pptx", ".pptm", ".ppsx", ".potx"), "office:read_pptx"),
    **dict.fromkeys((".xlsx", ".xlsm"), "office:read_xlsx"),
    **{suffix: f"office:read_{suffix[1:]}" for suffix in (".xls", ".epub", ".msg")},
}
"""Suffix → format, "module:function" under ``readers``; modules are imported when they are needed."""
ISOLATED = frozenset({"pdf", "word", "office"})
"""Always parsed in a process of their own: containers and binary formats."""
WHOLE = frozenset({"html", "mail"}) | ISOLATED
"""Cannot be read in parts. A large one of these is parsed in a process of its own, too."""
TYPES = {
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
    "application/x-subrip": ".srt",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
}
"""Content type → suffix."""
