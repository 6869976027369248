"""A telephone with several E.164 numbers is suppressed with all of them, whichever of them a list has."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from campaigns.attempt import AttemptState, Outcome
from campaigns.ledger import Ledger, migrations, open_ledger
from campaigns.ledger.moves import NotNow
from campaigns.ledger.readmissions import Removed, remove_numbers
from campaigns.ledger.suppression_book import entries, history, story_of
from campaigns.ledger.suppressions import Number, Put, put_numbers
from campaigns.ledger.tables import EVERY_CAMPAIGN
from campaigns.listed_number import NATIONAL
from campaigns.same_telephone import all_forms

if TYPE_CHECKING:
    from tests.conftest import Desk

PAIRS = [
    ("+525512345678", "+5215512345678"),
    ("+5491169071234", "+541169071234"),
    ("+972599123456", "+970599123456"),
    ("+442890123456", "+3534890123456"),
]
ONE = "+14150000001"


def bar(desk: "Desk", *phones: str, source: str | None = None) -> Put:
    """`dialer suppress add`, or the import of a file."""
    numbers = [Number(phone, "asked to", desk.noon, source) for phone in phones]
    return put_numbers(desk.ledger, numbers, campaign_id=EVERY_CAMPAIGN, now=desk.noon)


def unbar(desk: "Desk", *phones: str, source: str | None = None) -> Removed:
    """`dialer suppress remove`, or a row that takes a number off."""
    return remove_numbers(
        desk.ledger, phones, campaign_id=EVERY_CAMPAIGN, reason="came back", now=desk.noon, source=source
    )


def calls(desk: "Desk", phone: str, name: str = "reminders", **tables: object) -> None:
    """A running campaign of one recipient with this number."""
    (person,) = desk.people(1)
    desk.load(desk.campaign(name, **tables), [replace(person, phone=phone)])
    desk.start(name)


def listed(desk: "Desk") -> list[str]:
    return [entry.phone for entry in entries(desk.ledger)]


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("turned", [False, True])
def test_whichever_number_each_of_the_files_has(desk: "Desk", pair: tuple[str, str], *, turned: bool) -> None:
    """Loaded before and afterwards, waiting and queued: none is dialed."""
    asked, loaded = reversed(pair) if turned else pair
    calls(desk, loaded)
    calls(desk, loaded, "queued")
    queued = desk.claim(keep_queued=2)
    assert len(queued) == 2
    desk.bring(queued[0], AttemptState.RETURNED)
    assert bar(desk, asked) == Put(numbers=1, added=1, withdrawn=2, under_way=0)
    calls(desk, loaded, "afterwards")
    assert [desk.states(name) for name in ("reminders", "queued", "afterwards")] == [["suppressed"]] * 3
    assert all(isinstance(desk.dial(claimed), NotNow) for claimed in queued)
    assert desk.claim() == []


@pytest.mark.parametrize("pair", PAIRS)
def test_any_of_the_numbers_takes_the_telephone_off(desk: "Desk", pair: tuple[str, str]) -> None:
    """All of its numbers, and who waits with any of them waits again."""
    asked, other = pair
    bar(desk, asked)
    calls(desk, asked)
    calls(desk, other, "others")
    assert unbar(desk, other) == Removed((other,), waiting=2, barred=())
    assert listed(desk) == []
    assert (desk.states(), desk.states("others")) == (["waiting"], ["waiting"])
    bar(desk, asked)
    assert unbar(desk, asked, other) == Removed(tuple(sorted(pair)), waiting=2, barred=())
    with desk.ledger.read() as db:
        for phone in pair:
            assert [entry.what for entry in story_of(db, phone).past] == ["added", "removed"] * 2


def test_another_list_bars_all_numbers_of_a_telephone(desk: "Desk") -> None:
    """The entry of one campaign is named when that for every campaign goes, whichever number is asked for."""
    asked, other = PAIRS[0]
    calls(desk, other)
    bar(desk, asked)
    own = desk.run().campaign_id
    put_numbers(desk.ledger, [Number(other, "own", desk.noon)], campaign_id=own, now=desk.noon)
    assert unbar(desk, asked) == Removed((asked,), waiting=0, barred=(asked,))
    assert desk.states() == ["suppressed"]


def test_two_numbers_of_a_telephone_are_one(desk: "Desk") -> None:
    """It is counted once, in a file as on the list, and its history has each number once."""
    asked, other = PAIRS[1]
    assert bar(desk, asked, other, ONE) == Put(numbers=2, added=2, withdrawn=0, under_way=0)
    assert bar(desk, other) == Put(numbers=1, added=0, withdrawn=0, under_way=0)
    assert sorted(listed(desk)) == sorted([asked, other, ONE])
    assert sorted(entry.phone for entry in history(desk.ledger)) == sorted([asked, other, ONE])


def test_an_outcome_suppresses_the_telephone(desk: "Desk") -> None:
    """Others who wait with its other number are not dialed either."""
    asked, other = PAIRS[0]
    calls(desk, asked, suppression={"outcomes": ["invalid_number"]})
    (claimed,) = desk.claim()
    calls(desk, other, "others")
    desk.bring(claimed, AttemptState.PLACED)
    assert desk.ended(claimed, Outcome.INVALID_NUMBER)
    assert desk.states("others") == ["suppressed"]
    assert sorted(listed(desk)) == sorted(PAIRS[0])


def test_a_source_takes_off_only_its_own(desk: "Desk") -> None:
    """What the national file has put on the list it takes off; what a person asked for stays."""
    bar(desk, ONE, source=NATIONAL)
    assert unbar(desk, ONE, source=NATIONAL).phones == (ONE,)
    for before, afterwards in ((None, NATIONAL), (NATIONAL, None)):
        bar(desk, ONE, source=before)
        bar(desk, ONE, source=afterwards)
        assert unbar(desk, ONE, source=NATIONAL).phones == ()
        assert listed(desk) == [ONE]
        assert unbar(desk, ONE).phones == (ONE,)


def test_an_older_list_is_completed(new_ledger_url: str, desk_of: "Callable[[Ledger], Desk]") -> None:
    """What was suppressed before the program knew of a telephone's other numbers holds for these, too."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    url = make_url(new_ledger_url)
    engine = create_engine(url.set(drivername="postgresql+psycopg") if url.drivername != "sqlite" else url)
    olds = [pair[1] for pair in PAIRS] + ["+378886377", "+33692123456", ONE]
    with closing(engine.connect()) as db, db.begin():
        config.attributes["connection"] = db
        command.upgrade(config, "0009")
        for phone in olds:
            for campaign_id in (0, 7):
                row = {"phone": phone, "campaign_id": campaign_id}
                db.execute(
                    text("INSERT INTO suppressions VALUES (:phone, :campaign_id, 'asked to', 1000000)"), row
                )
    engine.dispose()
    with closing(open_ledger(new_ledger_url)) as ledger:
        desk = desk_of(ledger)
        found = list(entries(ledger))
        assert sorted(each.phone for each in found) == sorted(all_forms(olds) * 2)
        assert {(each.reason, each.at.timestamp()) for each in found} == {("asked to", 1.0)}
        # Those that were there had their history; the new ones have it now.
        assert sorted(each.phone for each in history(ledger)) == sorted(
            phone for phone in all_forms(olds) * 2 if phone not in olds
        )
        calls(desk, PAIRS[0][0])
        assert desk.states() == ["suppressed"]
