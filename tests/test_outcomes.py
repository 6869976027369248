"""A thousand recipients called to the end, through real processes: outcomes, redials and their times.

What ought to come of it is calculated here from the sandbox's journal and the rules as they stand in the
campaign file, by nothing that the dialer uses.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from phonenumbers import PhoneNumber, is_valid_number

from tests.test_story import CAMPAIGN, Office

RULES = """
traffic_type = "CAMPAIGN"
answering_machine_detection = true

[redial]
max_attempts = 4
busy = { wait = "1s", max_redials = 2 }
no_answer = "2s"
unreachable = "1s"
voicemail = { wait = "1s", max_redials = 1 }
"""
ATTEMPTS = {"busy": 3, "no_answer": 4, "unreachable": 4, "voicemail": 2}
"""By hand from the rules, for somebody whose calls all end alike, as they do in the sandbox."""
WAITS = {"busy": 1.0, "no_answer": 2.0, "unreachable": 1.0, "voicemail": 1.0}
ENDINGS = {"answered": "human_answered", "voicemail_no_beep": "voicemail"}
"""What the journal calls them → what Connect's detection says of them."""


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    """An office with a generous quota."""
    made = Office(tmp_path)
    made.environment |= {
        "DIALER_CALLS_PER_SECOND": "150",
        "DIALER_BURST": "150",
        "DIALER_MAX_ACTIVE_CALLS": "300",
    }
    yield made
    made.end()


def mixed(count: int) -> list[str]:
    """So many numbers of every kind but those whose answers get lost; all of them reserved for fiction."""
    areas = (area for area in range(201, 990) if is_valid_number(PhoneNumber(1, area * 10**7 + 5550100)))
    every = (f"+1{area}55501{last:02}" for area in areas for last in (*range(89), 90, 91))
    return list(islice(every, count))


@pytest.mark.timeout(600)
def test_outcomes_are_the_journals_and_attempts_are_what_the_rules_say(office: Office) -> None:
    """1,000 recipients of every kind: every outcome, and every redial at its time."""
    numbers = mixed(1000)
    (office.home / "campaign.toml").write_text(CAMPAIGN + RULES)
    office.list(numbers)
    run = office.run()
    run.wait(500)  # a minute alone on two busy processors
    office.wait(run)
    journal = office.journal()
    calls: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in journal:
        if line["rang"]:
            calls[line["destination"]].append(line | line["call"])
    rows = {row["phone"]: row for row in office.results()}
    assert sorted(rows) == sorted(numbers)

    for phone, row in rows.items():
        if phone[-2:] in ("90", "91"):
            assert (row["outcome"], row["attempts"], calls[phone]) == ("refused", "1", []), row
            continue
        endings = {ENDINGS.get(call["ending"], call["ending"]) for call in calls[phone]}
        assert endings == {row["outcome"]}, row
        assert row["contact_ids"].split() == [call["contact_id"] for call in calls[phone]], row
        (ending,) = endings
        assert int(row["attempts"]) == len(calls[phone]) == ATTEMPTS.get(ending, 1), row
        for before, after in zip(calls[phone], calls[phone][1:], strict=False):
            # Both are the stand-in's own times, so the wait is the rule's and never shorter.
            assert after["placed_at"] - before["ended_at"] >= WAITS[ending], row
    assert {row["state"] for row in rows.values()} == {"done"}
    tokens = Counter(call["client_token"] for each in calls.values() for call in each)
    assert set(tokens.values()) == {1}

    every = [call for each in calls.values() for call in each]
    exported = json.loads(office.do("status", "story", "--json"))["outcomes"]
    assert exported == Counter(ENDINGS.get(call["ending"], call["ending"]) for call in every)
