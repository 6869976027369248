"""A morning rehearsed through real processes: hours and redials by the rehearsal's clock, in seconds."""

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.test_story import CAMPAIGN, Office

AS_OF = "2026-12-03 08:50 America/New_York"
OPENS = datetime(2026, 12, 3, 14, 0, tzinfo=UTC)
RULES = """
[redial]
max_attempts = 2
no_answer = "2h"

[calling_hours]
weekdays = "09:00-20:00"
"""


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Whose recipients may be called from nine o'clock on."""
    made = Office(tmp_path)
    (tmp_path / "campaign.toml").write_text(CAMPAIGN + RULES)
    yield made
    made.end()


def rehearsed(office: Office) -> list[dict[str, Any]]:
    """The rings of a rehearsal: its sandbox goes by another clock, and has a journal of its own."""
    text = (office.home / ".dialer" / "rehearsal-journal.jsonl").read_text()
    return [line for line in map(json.loads, text.splitlines()) if line.get("rang")]


def test_a_morning_goes_by_its_clock(office: Office) -> None:
    """No telephone rings before nine there, redials come two hours later, and nothing of it turns real."""
    reached = ["+12125550101", "+12125550102"]
    missed = ["+12125550172", "+12125550173"]
    office.list([*reached, *missed])
    rehearse = ("run", "campaign.toml", "list.csv", "--sandbox", "--as-of", AS_OF, "--speed", "800")
    process = office.start(*rehearse, "--faults")
    office.wait(process)
    rings = defaultdict(list)
    for line in rehearsed(office):
        rings[line["destination"]].append(datetime.fromtimestamp(line["epoch"], UTC))
    assert {phone: len(times) for phone, times in rings.items()} == {
        **dict.fromkeys(reached, 1),
        **dict.fromkeys(missed, 2),
    }
    assert all(OPENS <= times[0] <= OPENS + timedelta(minutes=30) for times in rings.values())
    for phone in missed:
        first, second = rings[phone]
        assert timedelta(hours=2) <= second - first <= timedelta(hours=3)
    told = office.status()
    assert told["rehearsal"]["as_of"].startswith("2026-12-03T13:50")
    assert (told["rehearsal"]["running"], told["recipients"]["done"]) == (False, 4)

    before = len(rehearsed(office))
    (office.home / "campaign.toml").write_text(CAMPAIGN.replace('"story"', '"another"') + RULES)
    real = office.start("run", "campaign.toml", "list.csv")
    office.wait(real, code=2)
    assert "rehearsal" in office.err(real)
    assert (len(rehearsed(office)), office.rang()) == (before, 0)
    assert json.loads(office.do("status", "--json")) != []
