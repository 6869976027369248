"""A run as a row of docs/reliability.md."""

from collections.abc import Iterable, Mapping

_COLUMNS = {
    "dialer": "dialer",
    "ledger": "ledger",
    "kill": "SIGKILLs",
    "flush": "FLUSHALLs",
    "restart": "Redis killed",
    "freeze": "Redis frozen",
    "cut": "connections cut",
    "answers_lost": "answers lost or wrong",
    "people": "people",
    "rings": "rings",
    "second_rings": "second rings",
    "lost": "people lost",
    "unknown": "attempts unknown",
    "above_quota": "requests above the quota",
    "violations": "violations",
    "seconds": "seconds",
}


def header() -> str:
    """The table's first two lines."""
    return _line(_COLUMNS.values()) + "\n" + _line("---" for _ in _COLUMNS)


def row(values: Mapping[str, object]) -> str:
    """One line."""
    return _line(_in_words(values.get(name, "")) for name in _COLUMNS)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _in_words(value: object) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)
