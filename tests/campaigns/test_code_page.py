"""Which code page a list may be in: by Python's codecs, and by what a spreadsheet program has written."""

import codecs
import re
from pathlib import Path

import pytest

from campaigns.call_list import CallList, RejectedRow, open_call_list
from campaigns.campaign import ListOptions
from campaigns.code_page import OF_REGION, is_odd, judged, known_codec
from campaigns.mistake import Mistake
from campaigns.recipient import Recipient
from campaigns.text_file import Source

PEOPLE = {
    "cp1250": ["Łukasz Wójcik", "Grażyna Śliwa", "Żaneta Ćwik", "Jiří Dvořák", "Růžena Šťastná"],
    "iso8859-2": ["Łukasz Wójcik", "Grażyna Śliwa", "Żaneta Ćwik"],
    "cp1251": ["Иван Петров", "Ольга Сидорова", "Юрий Щукин"],
    "koi8-r": ["Иван Петров", "Ольга Сидорова", "Юрий Щукин"],
    "cp866": ["Иван Петров", "Ольга Сидорова", "Юрий Щукин"],
    "cp1253": ["Γιώργος Παπαδόπουλος", "Μαρία Ιωάννου", "Ελένη Νικολάου"],
    "cp1254": ["Şükrü Yıldız", "Işık Çağlar", "Ayşe Öztürk", "Oğuz Şahin"],
    "cp1255": ["יעל כהן", "דוד לוי", "משה פרץ"],
    "cp1256": ["محمد علي", "فاطمة حسن", "خالد إبراهيم"],
    "cp1257": ["Žydrūnas Šimkus", "Rūta Kazlauskienė", "Jānis Bērziņš", "Līga Kalniņa"],
    "cp874": ["สมชาย ใจดี", "สมหญิง รักเรียน", "วิชัย ศรีสุข"],
    "shift_jis": ["山田 太郎", "佐藤 花子", "鈴木 一郎"],
    "cp932": ["髙橋 一郎", "山﨑 花子", "鈴木 一郎"],
    "euc_jp": ["山田 太郎", "佐藤 花子", "鈴木 一郎"],
    "gb18030": ["王伟", "李娜", "张敏", "刘洋"],
    "gbk": ["王伟", "李娜", "张敏", "刘洋"],
    "big5": ["王偉", "李娜", "張敏", "劉洋"],
    "euc-kr": ["김철수", "이영희", "박지민"],
    "mac_roman": ["Jürgen Müller", "Käthe Groß", "José Muñoz", "Françoise Côté"],
    "cp850": ["Jürgen Müller", "Käthe Groß", "José Muñoz", "Françoise Côté"],
    "cp437": ["Jürgen Müller", "Käthe Groß", "José Muñoz"],
}
WESTERN = {
    "German": ["Jürgen Müller", "Käthe Groß", "Zoë Schön"],
    "French": ["René Lefèvre", "Françoise Côté", "Noël L’Œuvre", "Anaïs"],
    "Spanish": ["José Muñoz", "Ángel Peña", "María Gómez", "Mª Ángeles Núñez"],
    "Portuguese": ["João Simões", "Conceição Araújo", "Antônio"],
    "Icelandic": ["Þórður Jónsson", "Guðrún Sigurðardóttir", "Æsa Ýr"],
    "Scandinavian": ["Søren Kierkegård", "Åsa Öberg", "Päivi Mäkelä"],
    "Irish": ["Seán Ó hÉimhigh", "Siobhán Ní Bhriain"],
    "mixed": ["Ana Muñoz", "Zoë Fisher", "François Roy", "Björk Ågren", "Søren", "João"],
    "one": ["José Diaz"],
    "signs": [
        "Nestlé®",
        "5 µm",
        "20 °C",
        "£50",
        "«Café»",
        "“Zoë”",
        "½ Größe",
        "¿Qué?",
        "m²",
        "O’Brien – Peña",
    ],
}


def text_of(names: list[str]) -> str:
    return "name,phone\r\n" + "".join(f"{name},+141555501{i:02}\r\n" for i, name in enumerate(names))


def opened(path: Path, content: bytes, **options: str | None) -> CallList:
    path.write_bytes(content)
    return open_call_list(path, ListOptions.model_validate({"attributes": ["name"]} | options))


def names(call_list: CallList) -> list[str]:
    rows = list(call_list)
    assert [row for row in rows if isinstance(row, RejectedRow)] == []
    return [row.attributes["name"] for row in rows if isinstance(row, Recipient)]


@pytest.mark.parametrize("encoding", PEOPLE)
def test_letters_of_another_code_page_are_refused(tmp_path: Path, encoding: str) -> None:
    """No list whose letters cannot be Windows-1252 is read as that: one line, which says what to write."""
    with pytest.raises(Mistake, match="has an unknown encoding") as mistake:
        opened(tmp_path / "people.csv", text_of(PEOPLE[encoding]).encode(encoding))
    assert "\n" not in str(mistake.value)
    assert "[list]" in str(mistake.value)
    assert "as UTF-8" in str(mistake.value)


@pytest.mark.parametrize(
    "encoding", ["cp1250", "cp1251", "cp1253", "cp1254", "cp1256", "cp1257", "cp874", "shift_jis"]
)
def test_the_refusal_shows_the_right_reading(tmp_path: Path, encoding: str) -> None:
    """What the message suggests is a codec with which the names are right, and shows that."""
    with pytest.raises(Mistake) as mistake:
        opened(tmp_path / "people.csv", text_of(PEOPLE[encoding]).encode(encoding))
    assert sum(f'"{name}"' in str(mistake.value) for name in PEOPLE[encoding]) == 3
    assert f'encoding = "{known_codec(encoding)}"' in str(mistake.value)


@pytest.mark.parametrize("encoding", PEOPLE)
def test_a_named_encoding_is_read_and_shown(tmp_path: Path, encoding: str) -> None:
    """With `[list] encoding` the names are those that were written, and the list says how it was read."""
    call_list = opened(
        tmp_path / "people.csv", text_of(PEOPLE[encoding]).encode(encoding), encoding=encoding.upper()
    )
    assert names(call_list) == PEOPLE[encoding]
    assert (call_list.text.source, call_list.text.sample) == (Source.CAMPAIGN, tuple(PEOPLE[encoding][:3]))


@pytest.mark.parametrize("language", WESTERN)
def test_letters_of_windows_1252_are_assumed_and_shown(tmp_path: Path, language: str) -> None:
    """Names of its languages, and what stands beside them in lists, are read as before, with a sample."""
    people = WESTERN[language]
    call_list = opened(tmp_path / "people.csv", text_of(people).encode("cp1252"))
    assert names(call_list) == people
    assert (call_list.encoding, call_list.text.source) == ("cp1252", Source.ASSUMED)
    assert call_list.text.sample
    assert set(call_list.text.sample) <= set(people)


@pytest.mark.parametrize(("region", "page"), sorted(OF_REGION.items()))
def test_the_code_page_of_the_region_is_a_doubt(region: str, page: str) -> None:
    """Where the region's own machines would write other letters with the same bytes, neither is assumed."""
    cells = {"Muñoz".encode("cp1252"), "Sørê".encode("cp1252")}
    verdict = judged(cells, region)
    same = all(cell.decode(page, "replace") in (cell.decode("cp1252"), "\ufffd") for cell in cells)
    gaps = any("\ufffd" in cell.decode(page, "replace") for cell in cells)
    assert verdict.plausible == (same or gaps)
    assert judged({"Müller".encode("cp1252")}, "PL").plausible  # the same letters in both


def test_every_code_page_of_a_region_is_a_codec() -> None:
    """What a message suggests, `[list] encoding` takes."""
    for page in set(OF_REGION.values()):
        assert known_codec(page) == page


def test_names_of_encodings() -> None:
    """People's names for code pages are understood; what is no text is refused with an example."""
    assert [
        known_codec(name) for name in ("Windows-1250", " UTF8 ", "latin1", "ANSI", "utf-16", "GB2312")
    ] == [
        "cp1250",
        "utf-8",
        "cp1252",
        "cp1252",
        "utf-16",
        "gb18030",
    ]
    for name in ("", "klingon", "rot13", "base64", "idna", "a\0b", "ü"):
        with pytest.raises(ValueError, match="is no encoding"):
            known_codec(name)


def test_a_superset_reads_what_its_subset_wrote() -> None:
    """The codec that stands for another one reads everything that the other one can write for names."""
    for subset in ("shift_jis", "gb2312", "gbk", "big5", "euc_kr", "iso8859-9", "ascii"):
        text = "".join(
            chr(code)
            for code in (*range(0x20, 0x7F), *range(0x4E00, 0x9FA6), *range(0xAC00, 0xD7A4))
            if 0
            < len(chr(code).encode(subset, "ignore"))
            <= 2  # not composed of several, which no program writes
        )
        assert text.encode(subset).decode(known_codec(subset)) == text


@pytest.mark.parametrize("marked", [codecs.BOM_UTF8, codecs.BOM_UTF16_LE, b""])
def test_a_certain_encoding_is_not_read_as_a_named_one(tmp_path: Path, marked: bytes) -> None:
    """A list that certainly is Unicode is not read as the code page that the campaign names."""
    unicode = "utf-16-le" if marked == codecs.BOM_UTF16_LE else "utf-8"
    content = marked + text_of(["Łukasz", "Żaneta"]).encode(unicode)
    with pytest.raises(Mistake, match="encoding says cp1250; remove that line"):
        opened(tmp_path / "people.csv", content, encoding="cp1250")


def test_a_plain_list_is_read_whatever_is_named(tmp_path: Path) -> None:
    """ASCII is the same in all of them."""
    assert names(opened(tmp_path / "people.csv", text_of(["Ann"]).encode(), encoding="cp1251")) == ["Ann"]


@pytest.mark.parametrize(
    ("named", "written"), [("utf-8", "cp1250"), ("euc_jp", "cp1250"), ("cp932", "cp1252")]
)
def test_what_is_not_in_the_named_encoding_is_refused(tmp_path: Path, named: str, written: str) -> None:
    """A list that cannot be what the campaign says is one line, and no list of damaged rows."""
    people = PEOPLE.get(written, ["Müller", "Ångström", "Grüß Ñandú"]) * 4
    with pytest.raises(Mistake, match=r"\[list\] encoding says"):
        opened(tmp_path / "people.csv", text_of(people).encode(written), encoding=named)


def test_two_encodings_in_one_file_are_refused(tmp_path: Path) -> None:
    """A list that was put together from two is refused with a line where the other one stands."""
    content = (
        text_of(["Müller", "Jürgen", "Käthe", "Çelik"]).encode("cp1252") + "José,+14155550199\n".encode()
    )
    with pytest.raises(Mistake, match="line 6: is UTF-8, and other lines are not"):
        opened(tmp_path / "people.csv", content)


def test_iso_2022_is_not_ascii(tmp_path: Path) -> None:
    """Japanese mail's encoding is all ASCII bytes; it is named, or refused."""
    content = text_of(["山田 太郎"]).encode("iso2022_jp")
    with pytest.raises(Mistake, match="ISO-2022"):
        opened(tmp_path / "people.csv", content)
    assert names(opened(tmp_path / "people.csv", content, encoding="iso-2022-jp")) == ["山田 太郎"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("people", [["Иван Петров"] * 50, ["山田 太郎"] * 50])
def test_utf_16_without_a_mark_in_any_script(tmp_path: Path, encoding: str, people: list[str]) -> None:
    """UTF-16 is told by its digits and line ends, also where no letter has a NUL."""
    call_list = opened(tmp_path / "people.csv", text_of(people).encode(encoding))
    assert (call_list.encoding, names(call_list)) == (encoding, people)


def test_utf_16_out_of_step_is_refused(tmp_path: Path) -> None:
    """A byte too many shifts all that follows, which would be read as one long record."""
    content = text_of(["Ann"] * 5).encode("utf-16")
    with pytest.raises(Mistake, match="from there on it is not UTF-16"):
        opened(tmp_path / "people.csv", content + b"x" + text_of(["Bo"] * 5).encode("utf-16-le") + b"y")


@pytest.mark.parametrize(
    "garbage", [bytes(4096), bytes(range(256)) * 20, text_of(["Zoë"] * 99).encode("utf-16-le")]
)
@pytest.mark.parametrize("rows", [3, 60_000])
def test_a_file_that_turns_into_garbage_is_one_line(tmp_path: Path, garbage: bytes, rows: int) -> None:
    """NULs of a full disk, a binary tail, another encoding: the list is refused and says from where on."""
    with pytest.raises(
        Mistake, match=r"line \d+: from there on it is not text|is not a text file"
    ) as mistake:
        opened(tmp_path / "people.csv", text_of(["Ann"] * rows).encode() + garbage)
    if line := re.search(r"line (\d+)", str(mistake.value)):
        assert 0 <= int(line[1]) - (rows + 2) < 40


@pytest.mark.parametrize("name", ["?ukasz", "Gra?yna", "???? ??????", "Zo?ë", "100 ?", "1 234.50 ?", "? 99"])
def test_letters_that_an_export_has_lost_are_not_said(tmp_path: Path, name: str) -> None:
    """Programs write a question mark for a letter that their code page lacks."""
    [row] = opened(tmp_path / "people.csv", text_of([name]).encode())
    assert isinstance(row, RejectedRow)
    assert (row.column, row.reason[:18]) == ("name", "has question marks")


@pytest.mark.parametrize(
    "name", ["Why?", "Who? Me?", "really ?", "At 10?", "At 10 ?", "https://example.com/?a=b", "x.php?id=1"]
)
def test_question_marks_of_people_stay(tmp_path: Path, name: str) -> None:
    """A question mark at the end of a word, or in an address, is one."""
    assert names(opened(tmp_path / "people.csv", text_of([name]).encode())) == [name]


@pytest.mark.parametrize(
    "word", ["MŸller", "JosŽ", "£ukasz", "Gra¿yna", "Pawe³owski³", "Þükrü", "JosÃ©", "Ksi¹¿ka"]
)
def test_no_language_writes_that(word: str) -> None:
    """Signs inside of words, capitals behind small letters, and alphabets that do not mix."""
    assert is_odd(word)


def test_a_euro_of_latin_9_is_no_currency_sign() -> None:
    """ISO 8859-15 has € where Windows-1252 has ¤: refused, with that encoding and how it reads."""
    verdict = judged({each.encode("iso8859-15") for each in ("Jürgen Groß", "12,00 €", "€ 7")}, "DE")
    assert not verdict.plausible
    assert verdict.others[0].encoding == "iso8859-15"
    assert {"12,00 €", "€ 7"} <= set(verdict.others[0].cells)
    assert {"12,00 ¤", "¤ 7"} <= set(verdict.cells)
    assert judged({each.encode("cp1252") for each in ("Jürgen Groß", "12,00 €")}, "DE").plausible
    assert judged({each.encode("iso8859-15") for each in ("Jürgen Groß", "Zoë Schön")}, "DE").plausible


SPREADSHEETS = {
    "pl": ["Łukasz Wójcik", "Grażyna Śliwa", "Żaneta Ćwik", "Paweł, Dąb"],
    "de": ["Jürgen Müller", "Käthe Groß", "Zoë Schön", 'Ann "Änne" Öz'],
    "ru": ["Иван Петров", "Ольга Сидорова", "Юрий Щукин", "Анна, Ёлкина"],
}
NAMED = {
    "1250": "windows-1250", "88592": "ISO-8859-2", "850": "cp850", "mac": "macroman",
    "1251": "windows-1251", "koi8": "KOI8-R",
}  # fmt: skip
WRITTEN = sorted((Path(__file__).parent / "spreadsheets").glob("*.csv"))


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.stem)
def test_what_libreoffice_writes_is_read_or_refused(path: Path) -> None:
    """Lists that LibreOffice 7.4 has written in three languages: the names as they were, or no list."""
    language, form = path.stem.split("-")
    options = ListOptions(attributes={"name": "name"}, encoding="cp852" if path.stem == "pl-lost" else None)
    if form == "lost":
        [*rows] = open_call_list(path, options)
        assert any(isinstance(row, RejectedRow) for row in rows)
        said = [row.attributes["name"] for row in rows if isinstance(row, Recipient)]
        assert set(said) <= set(SPREADSHEETS[language])
        return
    if form in NAMED:
        with pytest.raises(Mistake, match="has an unknown encoding"):
            open_call_list(path, options)
        options = ListOptions(attributes={"name": "name"}, encoding=NAMED[form])
    assert names(open_call_list(path, options)) == SPREADSHEETS[language]
