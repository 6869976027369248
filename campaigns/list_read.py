"""How a list was read, which its bytes do not always say: told to the operator, who knows what was sent."""

from dataclasses import dataclass
from typing import Any

from campaigns.call_list import CallList
from campaigns.code_page import name_of, shown
from campaigns.text_file import Source


@dataclass(frozen=True, slots=True)
class ListRead:
    """How a list was read to its end."""

    encoding: str
    """A codec's name."""
    source: Source
    sample: tuple[str, ...]
    """Cells with letters beyond ASCII, to be looked at where the source is not the content."""
    delimiter: str
    unfinished_line: int | None
    """Where the last row begins, if it has no line end."""

    @classmethod
    def of(cls, call_list: CallList) -> "ListRead":
        """Of a list that has been read to its end."""
        text, line = call_list.text, call_list.unfinished_line
        return cls(text.encoding, text.source, text.sample, call_list.delimiter, line)


def in_words(read: ListRead) -> list[str]:
    """A line for each thing that the operator is to look at."""
    words = []
    name, cells = name_of(read.encoding), shown(read.sample)
    if read.source == Source.ASSUMED:
        words.append(
            f"taken for {name}, which the file does not say: {cells}; if that is wrong, "
            'name its encoding in [list], such as encoding = "cp1250"'
        )
    elif read.source == Source.CAMPAIGN and read.sample:
        words.append(f"read as {name}, as [list] encoding says: {cells}")
    if read.unfinished_line is not None:
        words.append(
            f"line {read.unfinished_line}, the last one, has no line end; "
            "if the file was cut off there, load it again when it is complete"
        )
    return words


def as_json(read: ListRead) -> dict[str, Any]:
    """The same for machines."""
    return {
        "encoding": read.encoding,
        "encoding_source": read.source,
        "encoding_sample": list(read.sample),
        "delimiter": read.delimiter,
        "unfinished_line": read.unfinished_line,
    }
