"""Bytes that are not Unicode: can they be Windows-1252, and if not, what else may they be?

Spreadsheets write "CSV" in the code page of the machine, and no byte of the file says which. Nearly every
byte is a letter in nearly every code page, so that a wrong one is noticed by the letters only.
"""

import codecs
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

ASSUMED = "cp1252"

_ODD_SHARE = 0.02  # of the cells may hold what no language writes: a typing error is not another code page
_TIMES_LIKELIER = 2.0
_WORDS_FOR_A_VERDICT = 3  # by statistics; one name tells nothing
_SHOWN = 3
_LONGEST = 40

# The letters beyond a-z of the languages that Windows-1252 is made for: CLDR's exemplar sets, main and
# auxiliary, as far as names need them. What a word mixes from two of them is no word.
_ALPHABETS = tuple(
    frozenset(letters)
    for letters in (
        "àâæçéèêëîïôœùûüÿñ",  # French
        "äöüßéàè",  # German, with names from its neighbours
        "áéíñóúüç",  # Spanish, Galician, Basque
        "áâãàçéêíóôõòúü",  # Portuguese
        "àáèéìíîïòóùú",  # Italian
        "áàäéèëíïóöúüêîôûâ",  # Dutch, Afrikaans, Welsh
        "àçéèíïóòúüñ",  # Catalan, Occitan
        "åäöéáàëüæø",  # Swedish, Finnish
        "æøåéèêóòôâäöü",  # Danish, Norwegian
        "áéíóúýþæöð",  # Icelandic
        "áíóúýæøð",  # Faroese
        "õäöüšž",  # Estonian
        "šžäöå",  # Finnish, for names from abroad
        "áéíóúàèìòù",  # Irish, Gaelic
        "çëâ",  # Albanian
        "áčďéíóšťúýž",  # those of Czech and Slovak that are on the code page
    )
)
_RAISED = "¹²³¼½¾"  # letters to the module re, and signs to people
_LETTER = rf"[^\W\d_{_RAISED}µ]"
_LETTERS = re.compile(f"{_LETTER}+")
# Signs that stand inside of words in some language, or at their sides.
_INNER = "’‘'–—…·•\u00ad\u00a0®™°"
_BETWEEN = re.compile(rf"(?<={_LETTER})(?:[^\w\s\x00-\x7f{_INNER}]|[{_RAISED}])+(?={_LETTER})")
_BEFORE = re.compile(
    rf"(?<![^\W_])(?:[^\w\s\x00-\x7f“‘’„‚«‹¡¿–—…•·©®™°\u00a0\u00ad]|[{_RAISED}])(?={_LETTER})"
)
_BEHIND = re.compile(rf"{_LETTER}{{4}}[{_RAISED}ªºµ£¥¤¦§¬¯´¸¶¿¡«‚„ƒ¨˜†‡‰¢±]+(?!\w)")

# The sign for any currency, which lists do not have: it is the place of € in ISO 8859-15.
_CURRENCY = re.compile(rf"(?<!{_LETTER})¤(?!{_LETTER})")
_WITH_EURO = "iso8859-15"

# The code page of a country's Windows, where it is not 1252 (Microsoft's NLS table): spreadsheets write it.
_OF_REGIONS = {
    "cp1250": "PL CZ SK HU RO HR SI RS BA ME AL",
    "cp1251": "RU UA BY BG MK KZ KG TJ MN",
    "cp1253": "GR CY",
    "cp1254": "TR AZ",
    "cp1255": "IL",
    "cp1256": "AE BH DZ EG IQ IR JO KW LB LY MA OM PK QA SA SD SY TN YE",
    "cp1257": "EE LV LT",
    "cp1258": "VN",
    "cp874": "TH",
    "cp932": "JP",
    "gb18030": "CN SG",
    "cp949": "KR",
    "big5hkscs": "TW HK MO",
}
OF_REGION = {region: page for page, regions in _OF_REGIONS.items() for region in regions.split()}
"""ISO 3166 region → the codec of its Windows code page, without the regions of Windows-1252."""

# What files of people's names come in: Windows, Mac and DOS, and the usual ones of Unix. Python's names.
_CANDIDATES = (
    *("cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874"),
    *("koi8-r", "koi8-u", "cp866", "cp850", "cp852", "cp437", "iso8859-2", "iso8859-5", "iso8859-7"),
    *("mac-roman", "mac-latin2", "mac-cyrillic", "mac-greek", "mac-turkish"),
    *("cp932", "euc_jis_2004", "gb18030", "big5hkscs", "cp949"),
)
# What a name stands for in files that spreadsheets write: the vendor's superset, with the letters that names
# need (髙 and 﨑 are in cp932, and not in shift_jis). The WHATWG's encoding standard maps them alike.
_SUPERSETS = {
    "ascii": "utf-8",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "shift_jis": "cp932",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "euc_kr": "cp949",
    "utf-8-sig": "utf-8",
}
_NO_TEXT = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ufffd]")
_WINDOWS = re.compile(r"cp(125\d)")


@dataclass(frozen=True, slots=True)
class Reading:
    """What cells of the file are in one code page."""

    encoding: str
    """A codec's name that `[list] encoding` takes."""
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the bytes can be Windows-1252."""

    plausible: bool
    cells: tuple[str, ...]
    """Some cells as Windows-1252, the oddest first."""
    others: tuple[Reading, ...]
    """If not plausible: what may be right, the likeliest first; none where no code page fits."""


def known_codec(name: str) -> str:
    """The codec that a name of an encoding stands for in a list. Raises ValueError if there is none."""
    wanted = name.strip().lower()
    wanted = {"ansi": "cp1252", "x-sjis": "cp932", "ks_c_5601-1987": "cp949"}.get(wanted, wanted)
    wanted = re.sub(r"^windows[-_ ]?(?=\d)", "cp", wanted)
    try:
        found = codecs.lookup(wanted)
    except (LookupError, ValueError, UnicodeError):
        raise ValueError(_UNKNOWN) from None
    # Private, and the only way to tell rot13 and base64 from encodings of text; open() asks it, too.
    if not getattr(found, "_is_text_encoding", True) or found.name in _NO_FILES:
        raise ValueError(_UNKNOWN)
    return _SUPERSETS.get(found.name, found.name)


_UNKNOWN = 'is no encoding; write a name such as "utf-8", "cp1250", "koi8-r", "shift_jis" or "gb18030"'
_NO_FILES = {"idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined", "mbcs", "oem", "utf-7"}


def name_of(encoding: str) -> str:
    """An encoding as people call it: `Windows-1250`, `UTF-16`."""
    if match := _WINDOWS.fullmatch(encoding):
        return f"Windows-{match[1]}"
    return {"utf-16-le": "UTF-16", "utf-16-be": "UTF-16", "utf-8": "UTF-8"}.get(encoding, encoding)


def judged(cells: Iterable[bytes], region: str | None) -> Verdict:
    """Judge cells with bytes beyond ASCII, each once. `region`: where the numbers without country code are.

    Plausible are letters that some language of Windows-1252 writes in one word, where no other code page is
    much likelier, nor the one of the region's own machines gives another text.
    """
    raw = sorted(cells)
    read = [(cell, cell.decode(ASSUMED, "replace")) for cell in raw]
    odd = [cell for cell, text in read if "\ufffd" in text or is_odd(text)]
    joined = b"\n".join(raw)
    plausible = len(odd) <= _ODD_SHARE * len(raw)
    # Bytes that are signs in Windows-1252 alone, € among them, are none of ISO 8859-15.
    euros = [cell for cell, text in read if _CURRENCY.search(text)] if plausible else []
    if euros and _NO_TEXT.search(_decoded(joined, _WITH_EURO)):
        euros = []
    first = [*euros, *odd]
    shown = [*first, *(cell for cell in raw if cell not in set(first[:_SHOWN]))][:_SHOWN]
    # Signs such as ° and ½ say nothing of a language; whole cells show better what is no text at all.
    words = {word for _, text in read for word in _LETTERS.findall(text) if not word.isascii()}
    spoken = b"\n".join(word.encode(ASSUMED, "replace") for word in sorted(words)) if plausible else joined
    likelier = [] if plausible and len(words) < _WORDS_FOR_A_VERDICT else _likelier(spoken)
    own = OF_REGION.get(region or "")
    if own is not None and _differs(joined, own):
        plausible = False
        likelier.insert(0, (_TIMES_LIKELIER, own))
    if plausible and likelier and likelier[0][0] > _TIMES_LIKELIER:
        plausible = False
    if plausible and euros:
        plausible = False
        likelier.insert(0, (_TIMES_LIKELIER, _WITH_EURO))
    others: dict[tuple[str, ...], Reading] = {}
    for _, encoding in likelier if not plausible else ():
        texts = tuple(_short(_decoded(cell, encoding)) for cell in shown)
        if not any(_NO_TEXT.search(text) for text in texts):
            others.setdefault(texts, Reading(encoding, texts))
    return Verdict(
        plausible,
        tuple(_short(_decoded(cell, ASSUMED)) for cell in shown),
        tuple(others.values())[:2],
    )


def is_odd(text: str) -> bool:
    """Whether a text has letters and signs as no language of Windows-1252 puts them together."""
    if _BETWEEN.search(text) or _BEFORE.search(text) or _BEHIND.search(text):
        return True
    return any(not word.isascii() and _is_odd_word(word) for word in _LETTERS.findall(text))


def _is_odd_word(word: str) -> bool:
    pairs = list(pairwise(word))
    # Not at the beginning: Irish has hÉimhigh.
    if any(left.islower() and right.isupper() and right > "\x7f" for left, right in pairs[1:]):
        return True  # JosŽ
    if len(word) > 2 and word[0] <= "\x7f" and word[1] > "\x7f" and word[:2].isupper() and word[2:].islower():
        return True  # MŸller
    beyond = {letter for letter in word.lower() if letter > "\x7f"}
    if len(word) <= 3:
        beyond -= {"ª", "º"}  # Mª, Nº
    return not any(beyond <= alphabet for alphabet in _ALPHABETS)


def _likelier(joined: bytes) -> list[tuple[float, str]]:
    """(how much likelier than Windows-1252, codec) of those that give another text; the likeliest first."""
    import chardet  # with its statistics it takes a tenth of a second to import, and most lists are UTF-8

    as_assumed = _decoded(joined, ASSUMED)
    found = chardet.detect_all(
        joined, ignore_threshold=True, include_encodings=_CANDIDATES, compat_names=False
    )
    own = max((each["confidence"] for each in found if each["encoding"] == ASSUMED), default=0.0)
    return [
        (each["confidence"] / own if own else float("inf"), encoding)
        for each in found
        if (encoding := each["encoding"]) is not None
        and encoding != ASSUMED
        and _decoded(joined, encoding) != as_assumed
    ]


def _differs(joined: bytes, encoding: str) -> bool:
    """Whether a code page gives another text, and one without gaps."""
    text = _decoded(joined, encoding)
    return "\ufffd" not in text and text != _decoded(joined, ASSUMED)


def _decoded(cell: bytes, encoding: str) -> str:
    return cell.decode(encoding, "replace")


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _LONGEST else f"{plain[:_LONGEST]}…"


def shown(cells: Sequence[str]) -> str:
    """Cells as a message names them."""
    return ", ".join(f'"{cell}"' for cell in cells)
