"""Encodings: declared, likely, named by the user, and what is told of them. Python's codecs are the oracle."""

from __future__ import annotations

import io
import random
from email.message import EmailMessage
from pathlib import Path

import pytest

from seedbed.core.errors import DataError, UsageError
from seedbed.documents.declared_encoding import declared_encoding, known_encoding
from seedbed.documents.document import Document
from seedbed.documents.encoding import check_encoding, decode, describe, detect
from seedbed.documents.likely_encoding import MOST_CERTAIN, guess_encoding
from seedbed.documents.reading import read

WESTERN = {
    "da": "Nøglen hænger på krogen bag døren, og gæsterne må gå ind.",
    "sv": "Båten ligger förtöjd vid östra bryggan; åskan går över.",
    "de": "Der Schlüssel für die Tür hängt über dem großen Haken.",
    "fr": "La clé du grenier est accrochée derrière, déjà réparée à l'été.",
    "es": "Mañana la niña traerá el balón; ¿quién cerró el salón?",
    "pt": "A reunião será amanhã de manhã, no salão. Não há cadeiras.",
    "it": "La città è tranquilla perché il lunedì è già chiuso.",
    "fi": "Sähkömittari on kellarissa; älä jätä ovea yöksi auki.",
    "is": "Það þarf að læsa hliðinu á kvöldin, þegar búið er að gefa.",
}
CENTRAL = {
    "pl": "Proszę zamknąć okna, gdyż po południu będzie wiał wiatr.",
    "cs": "Příští týden přijde opravář, který vymění starý kotel.",
    "sk": "Kľúč visí vedľa dverí, večer nezabudnite zhasnúť svetlá.",
    "hu": "Jövő héten jön a szerelő, és kicseréli a régi fűtőkazánt.",
    "hr": "Sljedeći tjedan dolazi majstor koji će čistiti žljebove.",
    "ro": "Săptămâna viitoare vine mecanicul să schimbe încălţările.",
}
ONE_BYTE = [
    *((text, encoding) for text in WESTERN.values() for encoding in ("cp1252", "cp850")),
    *((text, encoding) for text in CENTRAL.values() for encoding in ("cp1250", "cp852")),
    *((CENTRAL[language], "iso-8859-2") for language in ("pl", "cs", "hu")),
    ("Çocuklar yanlarında terlik getirsin, ışıkları söndürsün; şehir dışı.", "cp1254"),
    ("Kitą savaitę ateis meistras ir pakeis seną katilą, kaip žadėjo.", "cp1257"),
    ("Nākamnedēļ atnāks meistars un nomainīs veco katlu šķūnī.", "cp1257"),
    ("Την άλλη εβδομάδα θα έρθει ο τεχνίτης.", "cp1253"),
    ("Την άλλη εβδομάδα θα έρθει ο τεχνίτης.", "iso-8859-7"),
    *(("Ключ от подвала висит рядом с дверью.", one) for one in ("cp1251", "koi8-r", "cp866", "iso-8859-5")),
    ("Її ключ від підвалу висить поруч із дверима ґанку.", "cp1251"),
    ("המפתח למרתף תלוי ליד הדלת.", "cp1255"),
    ("مفتاح القبو معلق بجانب الباب.", "cp1256"),
    ("กุญแจห้องใต้ดินแขวนอยู่ข้างประตู", "cp874"),
]
MANY_BYTES = [
    *(("地下室の鍵はドアのそばに掛けてあります。", one) for one in ("shift_jis", "euc_jp", "iso2022_jp")),
    *(("地下室的钥匙挂在门旁边，下个星期更换。", one) for one in ("gb18030", "gb2312")),
    ("地下室的鑰匙掛在門旁邊，下個星期更換。", "big5"),
    ("지하실 열쇠는 문 옆에 걸려 있습니다.", "euc_kr"),
    *(
        ("Der Schlüssel hängt.\n他在这里。", one)
        for one in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "utf-16", "utf-32")
    ),
]


@pytest.mark.parametrize(("text", "encoding"), [*ONE_BYTE, *MANY_BYTES])
def test_a_short_text_is_read_in_its_likely_encoding(tmp_path: Path, text: str, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    [document] = read(tmp_path / "a.txt")
    assert document.text == text
    assert "encoding" in document.metadata


@pytest.mark.parametrize("text", ["u bent óf hier óf daar", "Müller", "café", "Señor Núñez"])
def test_where_letters_do_not_tell_the_usual_code_page_is_taken(text: str) -> None:
    assert decode(text.encode("cp1252"), "a")[0] == text


@pytest.mark.parametrize("text", ["He said “no” – 5 € – it’s late…", "“Quoted” and — dashed"])
def test_windows_quotation_marks_are_no_control_characters(text: str) -> None:
    assert decode(text.encode("cp1252"), "a")[0] == text


def test_a_text_in_utf8_with_some_bad_bytes_stays_so_and_their_number_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Zwölf Boxkämpfer ".encode() + b"\xff\xfe jagen")
    [document] = read(tmp_path / "a.txt")
    assert document.text == "Zwölf Boxkämpfer \ufffd\ufffd jagen"
    assert document.metadata["replaced"] == 2
    assert describe(document.metadata).endswith("2 bytes replaced")


def test_a_cut_last_character_is_no_other_encoding() -> None:
    assert decode("Zwölf Boxkämpfer im Süden ü".encode()[:-1], "a")[0] == "Zwölf Boxkämpfer im Süden \ufffd"


def test_clean_utf8_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffÜber \ufffd".encode())
    [document] = read(tmp_path / "a.txt")
    assert (document.text, document.metadata) == ("Über \ufffd", {})


def test_the_certainty_grows_with_the_text_and_is_never_whole() -> None:
    short, long = "naïf".encode("cp1252"), "La clé est accrochée derrière l'été. ".encode("cp1252") * 20
    assert 0 < guess_encoding(short).certainty < guess_encoding(long).certainty <= MOST_CERTAIN


DECLARED = [
    ("a.html", "<meta charset='koi8-r'><p>Река</p>", "koi8-r"),
    ("a.html", "<meta http-equiv='Content-Type' content='text/html; charset=iso-8859-2'><p>Żółć</p>", "iso-8859-2"),
    ("a.html", "<?xml version='1.0' encoding='windows-1253'?><html><p>Ναι</p></html>", "cp1253"),
    ("a.py", "#!/usr/bin/python\n# -*- coding: iso-8859-7 -*-\nx = 'Ναι'\n", "iso-8859-7"),
    ("a.tex", "\\usepackage[latin1]{inputenc}\nd\xe9j\xe0", "latin-1"),
    ("a.css", '@charset "iso-8859-9";\na::after { content: "ışık" }', "iso-8859-9"),
    ("a.txt", '"Content-Type: text/plain; charset=ISO-8859-2\\n"\nmsgstr "Źle"', "iso-8859-2"),
    ("a.html", "<meta charset=shift_jis><p>①ｱ</p>", "cp932"),  # the web takes one for the other
    ("a.html", "<meta charset=iso-8859-1><p>“no” 5 €</p>", "cp1252"),
]


@pytest.mark.parametrize(("name", "text", "encoding"), DECLARED)
def test_a_text_is_read_in_the_encoding_it_declares(tmp_path: Path, name: str, text: str, encoding: str) -> None:
    (tmp_path / name).write_bytes(text.encode(encoding))
    [document] = read(tmp_path / name)
    assert document.metadata["encoding_by"] == "declared"
    assert text.rpartition("<p>")[2].partition("</p>")[0] in document.text


@pytest.mark.parametrize("declared", ["utf-8", "no-such-thing", "base64", "shift_jis", "undefined", "a\0b"])
def test_a_declaration_that_cannot_be_is_passed_over(declared: str) -> None:
    text = "Nøglen hænger på krogen bag døren."
    assert decode(text.encode("cp1252"), "a", declared)[0] == text


def test_valid_utf8_is_that_whatever_is_declared() -> None:
    assert decode(b"<meta charset=iso-8859-1>" + "Müller".encode(), "a", "cp1250")[0].endswith("Müller")


def test_http_declares_before_the_page_does() -> None:
    assert detect(io.BytesIO("Река".encode("koi8-r")), "a", "koi8-r").found == "declared"
    assert decode("<meta charset=cp1251>Река".encode("koi8-r"), "a", "KOI8-R")[0].endswith("Река")


def test_declared_names_mean_what_browsers_take_them_for() -> None:
    assert [known_encoding(one) for one in ("latin1", "US-ASCII", "x-sjis", "gb2312", "ks_c_5601-1987")] == [
        *("cp1252", "cp1252", "cp932", "gb18030", "cp949")
    ]
    assert declared_encoding(b"the coding: of things is not declared") == ""


def test_a_part_of_a_mail_declares_its_own(tmp_path: Path) -> None:
    mail = EmailMessage()
    mail["Subject"] = "x"
    mail.set_content("Żółć i gęś", charset="iso-8859-2")
    (tmp_path / "a.eml").write_bytes(mail.as_bytes())
    [document] = read(tmp_path / "a.eml")
    assert document.text.strip() == "Żółć i gęś"
    assert document.metadata["encoding_by"] == "declared"


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("a.csv", "név;város\nŐze;Győr\n", "név: Őze\nváros: Győr"),
        ("a.json", '{"text": "Győr és Kőszeg közt félúton"}', "Győr és Kőszeg közt félúton"),
        ("a.jsonl", '{"text": "Győr és Kőszeg közt félúton"}\n', "Győr és Kőszeg közt félúton"),
        ("a.srt", "1\n00:00:01,000 --> 00:00:02,000\nGyőr és Kőszeg közt\n", "Győr és Kőszeg közt"),
        ("a.html", "<p>Győr és Kőszeg közt félúton</p>", "Győr és Kőszeg közt félúton"),
        ("a.md", "# Győr\n\nés Kőszeg közt", "# Győr\n\nés Kőszeg közt"),
    ],
)
def test_every_reader_of_text_takes_every_encoding(tmp_path: Path, name: str, content: str, wanted: str) -> None:
    for encoding in ("cp1250", "utf-16"):
        (tmp_path / name).write_bytes(content.encode(encoding))
        [document] = read(tmp_path / name)
        assert document.text.strip() == wanted


def test_the_encoding_that_is_named_is_taken(tmp_path: Path) -> None:
    data = "Łódź".encode("cp1250")
    (tmp_path / "a.txt").write_bytes(data)
    for encoding in ("cp1250", "cp1251", "iso-8859-15"):
        [document] = read(tmp_path / "a.txt", encoding=encoding)
        assert document.text == data.decode(encoding)
        assert document.metadata["encoding_by"] == "given"


@pytest.mark.parametrize("name", ["klingon", "base64", "rot13", "undefined"])
def test_an_unknown_encoding_is_refused_with_names(name: str) -> None:
    with pytest.raises(UsageError, match="there is no encoding") as refused:
        check_encoding(name)
    assert "cp1250" in refused.value.fix


@pytest.mark.parametrize("seed", range(5))
def test_binary_data_is_no_text_in_utf16(seed: int) -> None:
    numbers = random.Random(seed)
    data = b"".join(numbers.randrange(400).to_bytes(2, "little") for _ in range(600))
    with pytest.raises(DataError, match="cannot be read"):
        detect(io.BytesIO(data), "a")


def test_a_character_that_two_blocks_share_is_read_whole(tmp_path: Path) -> None:
    text = "а" * (1 << 19) + "я" * 10  # one byte before a block of UTF-16 ends
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe" + text.encode("utf-16-le"))
    assert "".join(one.text for one in read(tmp_path / "a.txt")) == text


def test_a_document_is_named_with_its_encoding() -> None:
    assert describe({"encoding": "cp1250", "encoding_by": "guessed", "encoding_certainty": 0.93}) == (
        "cp1250 (guessed, 93 % certain)"
    )
    assert describe({}) == ""
    assert Document("a", "b").metadata == {}
