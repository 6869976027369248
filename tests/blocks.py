"""The blocks of a page in Markdown: what is indented or fenced, and why one of them is not run."""

import re
from dataclasses import dataclass
from pathlib import Path

_MARK = re.compile(r"<!-- not run[^:]*: (.+?) -->")
_FENCE = "```"


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a page."""

    page: str
    line: int
    """Of its first line, from 1."""
    text: str
    language: str
    """What the fence says; empty for an indented block."""
    not_run: str | None
    """The reason in the invisible mark above it; None: it is run."""

    @property
    def kind(self) -> str:
        """`toml`, `json`, `python` or `shell`."""
        if self.language:
            return self.language
        if self.text.startswith("{"):
            return "json"
        return "toml" if re.match(r"\[|[a-z_]+ = ", self.text) else "shell"


def blocks(page: Path) -> list[Block]:
    """All blocks of a page, in order."""
    lines = [*page.read_text(encoding="utf-8").split("\n"), ""]
    found: list[Block] = []
    mark: str | None = None
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.startswith(_FENCE):
            end = next(i for i in range(at + 1, len(lines)) if lines[i].startswith(_FENCE))
            text = "\n".join(lines[at + 1 : end]) + "\n"
            found.append(Block(page.name, at + 2, text, line.removeprefix(_FENCE), mark))
            mark, at = None, end + 1
        elif line.startswith("    ") and not lines[at - 1].strip():
            others = (
                i for i in range(at, len(lines)) if lines[i].strip() and not lines[i].startswith("    ")
            )
            end = next(others, len(lines))
            text = "\n".join(each.removeprefix("    ") for each in lines[at:end]).rstrip("\n") + "\n"
            found.append(Block(page.name, at + 1, text, "", mark))
            mark, at = None, end
        else:
            if match := _MARK.fullmatch(line.strip()):
                mark = match[1]
            elif line.strip():
                mark = None
            at += 1
    return found


def commands(text: str) -> list[str]:
    """The lines of a block for a shell, each with those that continue it."""
    return [line for line in re.sub(r"\\\n\s*", "", text).split("\n") if line.strip()]
