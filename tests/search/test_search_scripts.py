"""Search by words in scripts without spaces, and the upgrade of stores that an older seedbed made."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from seedbed.documents.document import Chunk
from seedbed.search.store import Store
from seedbed.vectors.lsa import Latent

TEXTS = {
    "zh": "公司差旅报销制度\n员工出差回来后须在十个工作日内提交报销申请。住宿费每晚上限为四百五十元。",
    "ja": "宿泊費は一泊一万二千円を上限とする。精算は帰着後十日以内に申請すること。",
    "ko": "숙박비는 1박에 12만원을 상한으로 한다. 집에 와서 영수증을 제출한다.",
    "th": "สระว่ายน้ำเปิดทุกวันตั้งแต่หกโมงเช้าถึงสองทุ่ม เด็กต้องมีผู้ปกครองดูแล",
    "lo": "ຫ້ອງສະໝຸດເປີດທຸກມື້ຕັ້ງແຕ່ເກົ້າໂມງ",
    "km": "បណ្ណាល័យបើកពីម៉ោងប្រាំបី",
    "my": "စာကြည့်တိုက်သည် မနက်ကိုးနာရီတွင် ဖွင့်သည်",
    "bo": "དཔེ་མཛོད་ཁང་ཆུ་ཚོད་དགུ་ལ་སྒོ་འབྱེད།",
    "hi": "पुस्तकालय सोमवार को खुलता है",
    "ar": "يحق لكل مُوَظَّف ٣٠ يوما من الإجازة السنوية",
    "he": "הספרייה פתוחה בימי שני",
    "el": "Η βιβλιοθήκη ανοίγει στις εννέα",
    "en": "Visitors may park for two hours without a fee. The first officer raises the flag.",
}


def chunk(name: str, heading: str = "") -> Chunk:
    return Chunk(name, 0, len(TEXTS[name]), TEXTS[name], None, heading)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store.sqlite")
    made.add([chunk(name) for name in TEXTS], np.ones((len(TEXTS), 2), np.float32))
    return made


def found(store: Store, query: str) -> list[str]:
    return [hit.chunk.source for hit in store.hits(store.matching(query, 20))]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("报销申请", "zh"), ("住宿费上限是多少？", "zh"), ("費は一泊", "ja"), ("영수증은", "ko"), ("숙박비", "ko"),
        ("집은", "ko"),
        ("ว่ายน้ำ", "th"), ("ผู้ปกครอง", "th"), ("ຫ້ອງສະໝຸດ", "lo"),
        ("បណ្ណាល័យ", "km"), ("စာကြည့်တိုက်", "my"), ("དཔེ་མཛོད", "bo"),
        ("सोमवार", "hi"), ("موظف", "ar"), ("30", "ar"), ("الاجازة", "ar"), ("פְּתוּחָה", "he"), ("ΒΙΒΛΙΟΘΗΚΗ", "el"),
        ("ﬁrst oﬃcer ﬂag", "en"), ("ＰＡＲＫ", "en"),
    ],
)  # fmt: skip
def test_each_script_is_found(store: Store, query: str, name: str) -> None:
    assert found(store, query)[0] == name


def test_other_scripts_are_not_found(store: Store) -> None:
    assert found(store, "住宿费") == ["zh", "ja"]  # which share a character
    assert found(store, "狗") == []
    assert found(store, "ปลา") == []


def test_a_heading_is_found_and_deleted_with_its_chunk(store: Store) -> None:
    store.add([chunk("en", "停车规定")], np.ones((1, 2), np.float32))
    assert found(store, "停车") == ["en"]
    store.delete([chunk("en", "停车规定").id])
    assert found(store, "停车") == []
    with store._database.writing() as connection:  # FTS5 compares index and texts
        connection.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")


def test_vectors_know_scripts_without_spaces() -> None:
    fitted = Latent.fit(list(TEXTS.values()), 8)
    texts = fitted.embed_documents(list(TEXTS.values()))
    for query, name in (("报销申请", "zh"), ("숙박비의 상한", "ko"), ("ผู้ปกครองดูแล", "th")):
        assert int((texts @ fitted.embed_query(query)).argmax()) == list(TEXTS).index(name)


OLD_SCHEMA = """
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
    text, heading, content='chunks', content_rowid='row', tokenize='porter unicode61 remove_diacritics 2');
CREATE TRIGGER added AFTER INSERT ON chunks BEGIN
    INSERT INTO words (rowid, text, heading) VALUES (new.row, new.text, new.heading);
END;
CREATE TRIGGER deleted AFTER DELETE ON chunks BEGIN
    INSERT INTO words (words, rowid, text, heading) VALUES ('delete', old.row, old.text, old.heading);
    DELETE FROM vectors WHERE row = old.row;
END;
PRAGMA application_id = 99539949;
PRAGMA user_version = 1;
"""
"""As version 0.1 wrote it."""


def old_store(path: Path, names: list[str], embedder: str) -> None:
    database = sqlite3.connect(path)
    database.executescript(OLD_SCHEMA)
    for name in names:
        one = chunk(name)
        row = (one.id, name, 0, one.end, None, "", "{}", one.text)
        query = "INSERT INTO chunks (id, source, start, end, page, heading, metadata, text) VALUES (?,?,?,?,?,?,?,?)"
        number = database.execute(query, row).lastrowid
        database.execute("INSERT INTO vectors VALUES (?, ?)", (number, np.ones(2, "<f4").tobytes()))
    database.executemany("INSERT INTO settings VALUES (?, ?)", [("embedder", embedder), ("size", 2)])
    database.commit()
    database.close()


@pytest.mark.parametrize(
    ("names", "embedder", "pending"),
    [(["en", "zh"], "tfidf-2-abc", 2), (["en"], "tfidf-2-abc", 0), (["en", "zh"], "minilm", 0)],
)
def test_an_old_store_is_upgraded(
    tmp_path: Path, names: list[str], embedder: str, pending: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "handbook" / "store.sqlite"
    path.parent.mkdir()
    old_store(path, names, embedder)
    with_old = Store(path)
    told = capsys.readouterr().err
    assert found(with_old, "officer") == ["en"]
    assert found(with_old, "报销申请") == ["zh"][: len(names) - 1]
    assert with_old.pending() == pending
    assert with_old.embedder[0] == ("" if pending else embedder)
    assert "from form 1 to the present one" in told
    assert ("1 of 2 chunks have words that could not be found before" in told) == ("zh" in names)
    assert ("seedbed docs embed handbook" in told) == bool(pending)
    with_old.add([chunk("ko")], np.ones((1, 2), np.float32))
    with_old.delete([chunk(names[-1]).id])
    assert found(with_old, "숙박비") == ["ko"]
    with_old.close()
    again = Store(path)
    assert capsys.readouterr().err == ""  # once
    with again._database.writing() as connection:
        connection.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")


def test_an_upgrade_that_fails_leaves_the_store_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store.sqlite"
    old_store(path, ["en", "zh"], "minilm")

    def fail(*_: object) -> bool:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr("seedbed.search.upgrade._forget_tfidf", fail)
        with pytest.raises(MemoryError):
            Store(path)
    copied = tmp_path / "copy.sqlite"
    shutil.copy(path, copied)
    database = sqlite3.connect(copied)
    assert database.execute("PRAGMA user_version").fetchone() == (1,)
    assert database.execute("SELECT rowid FROM words WHERE words MATCH 'officer'").fetchall() == [(1,)]
    database.close()
    assert found(Store(path), "报销申请") == ["zh"]
