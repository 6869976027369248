"""The time at which a rehearsal begins, as it is written."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from campaigns.as_of import as_of
from campaigns.mistake import Mistake


@pytest.fixture(autouse=True)
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine's clock is New York's."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("2026-12-03 09:00", 14),
        (" 2026-12-03T09:00 ", 14),
        ("2026-12-03 09:00+01:00", 8),
        ("2026-12-03T09:00Z", 9),
        ("2026-12-03 09:00 Europe/Berlin", 8),
        ("2026-12-03 09:00 europe/berlin", 8),
    ],
)
def test_a_time_is_read_by_the_clock_that_it_names(text: str, hour: int) -> None:
    """An offset, a zone, or else this machine's clock."""
    assert as_of(text) == datetime(2026, 12, 3, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["", "tomorrow", "09:00", "2026-13-03 09:00", "0001-01-01 00:00", "9999-12-31 23:59", "2026-12-03 25:00"],
)
def test_what_is_no_time_is_a_mistake(text: str) -> None:
    """The message shows one that is."""
    with pytest.raises(Mistake, match="expected one such as"):
        as_of(text)


def test_a_zone_that_is_none_is_a_mistake() -> None:
    """A near one is named."""
    with pytest.raises(Mistake, match="Europe/Berlin"):
        as_of("2026-12-03 09:00 Europe/Berlim")


@pytest.mark.parametrize("text", ["2026-03-08 02:30", "2026-03-29 02:30 Europe/Berlin"])
def test_a_time_that_the_clock_leaves_out_is_a_mistake(text: str) -> None:
    """In the night in which it is put forward."""
    with pytest.raises(Mistake, match="never shows it"):
        as_of(text)
