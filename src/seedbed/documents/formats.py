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
    **dict.fromkeys((".csv", ".tsv"), "table:read"),
    ".json": "records:read_json",
    **dict.fromkeys((".jsonl", ".ndjson"), "records:read_lines"),
    **dict.fromkeys((".eml", ".mht", ".mhtml"), "mail:read"),
    ".mbox": "mail:read_mbox",
    ".ipynb": "notebook:read",
    **dict.fromkeys(
        (".xml", ".svg", ".rss", ".atom", ".opml", ".kml", ".gpx", ".fb2", ".xsd", ".xsl"), "markup:read_xml"
    ),
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
WHOLE = frozenset({"html", "mail", "notebook", "markup"}) | ISOLATED
"""Cannot be read in parts. A large one of these is parsed in a process of its own, too."""
REFUSED = {
    ".rtf": "Rich Text; save it as docx, PDF or text",
    ".doc": "an old Office file, such as Word 97; save it as docx or PDF",
    ".ppt": "PowerPoint 97; save it as pptx or PDF",
    **dict.fromkeys((".odt", ".odp", ".ods"), "an OpenDocument file; save it as docx, pptx, xlsx or PDF"),
    **dict.fromkeys((".pages", ".key", ".numbers"), "a document of iWork; export it as docx, pptx, xlsx or PDF"),
    **dict.fromkeys((".ps", ".eps"), "PostScript; convert it to PDF"),
    **dict.fromkeys((".tar", ".zip", ".7z", ".rar", ".tgz"), "an archive; unpack it and add the folder"),
    **dict.fromkeys((".mobi", ".azw3", ".djvu", ".chm"), "a kind of book that is not read; convert it to EPUB or PDF"),
    ".pst": "a mail archive of Outlook; export it as mbox or .eml files",
}
"""Suffix of a known kind that is not read → what it is, and the way out."""
MAGIC = (
    (b"{\\rtf", ".rtf"),
    (b"%!PS", ".ps"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", ".doc"),
    (b"7z\xbc\xaf\x27\x1c", ".7z"),
    (b"Rar!", ".rar"),
    (b"!BDN", ".pst"),
)
"""Beginnings of files → the suffix of their kind."""
TEXT = frozenset({"text", "table", "records", "subtitles", "html"})
"""Text whose encoding is found before it is read: these readers get UTF-8."""
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
    "multipart/related": ".mhtml",
    "application/mbox": ".mbox",
    "application/x-ipynb+json": ".ipynb",
    **dict.fromkeys(("text/xml", "application/xml", "application/rss+xml", "application/atom+xml"), ".xml"),
    "image/svg+xml": ".svg",
    "text/rtf": ".rtf",
    "application/rtf": ".rtf",
    "application/x-subrip": ".srt",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
}
"""Content type → suffix."""
