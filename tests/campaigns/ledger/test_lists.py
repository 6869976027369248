import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, insert, select, text

import campaigns
from campaigns.attempt import AttemptState
from campaigns.ledger import Ledger, runs
from campaigns.ledger.choices import put_campaign
from campaigns.ledger.engine import Errand
from campaigns.ledger.figures import list_columns
from campaigns.ledger.lists import Loaded, put_list
from campaigns.ledger.runs import finish
from campaigns.ledger.tables import AT_ONCE, loads, metadata, recipients
from campaigns.mistake import Mistake
from campaigns.recipient import Recipient

if TYPE_CHECKING:
    from tests.conftest import Desk

ROOT = Path(campaigns.__file__).parents[1]

# Loads 5,000 people, and stops for ever at one of two places, having said so.
KILLED_LOAD = """
import signal, sys
from datetime import UTC, datetime
from sqlalchemy import event
from campaigns.campaign import Campaign
from campaigns.ledger import open_ledger
from campaigns.ledger.lists import put_list
from campaigns.ledger.staging import Batch
from campaigns.recipient import Recipient

url, place, campaign = sys.argv[1:]
ledger = open_ledger(url)
merged = []

def stop():
    print("here", flush=True)
    signal.pause()

def batches():
    for i in range(1, 5001):
        if place == "while streaming" and i == 4500:
            stop()
        batch = Batch()
        name = {"Name": f"Ana {i}"}
        batch.accept([Recipient(i + 1, f"key-{i}", f"+1415{i:07d}", name, None, {"phone": "1"})])
        yield batch

@event.listens_for(ledger._engine, "before_cursor_execute")
def on_statement(connection, cursor, statement, *rest):
    merged.extend(["yes"] * ("INSERT INTO recipients" in statement))

@event.listens_for(ledger._engine, "commit")
def on_commit(connection):
    if merged and place == "before the commit":
        stop()

put_list(
    ledger, Campaign.model_validate_json(campaign), batches(), file_name="people.csv",
    columns=("phone",), now=datetime(2026, 3, 2, 12, tzinfo=UTC),
)
"""


def counts(ledger: Ledger) -> dict[str, int]:
    """How many rows each table has."""
    with ledger.read() as db:
        return {
            name: db.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in metadata.tables.items()
            if name not in ("identity", "positions")  # what every ledger has from the beginning
        }


def numbers(loaded: Loaded) -> tuple[int, int, int, int, int]:
    return loaded.rows, loaded.accepted, loaded.duplicates, loaded.rejected, loaded.suppressed


def test_every_row_is_accounted_for(desk: "Desk") -> None:
    """rows = accepted + duplicates + rejected + suppressed, in the answer and in the ledger."""
    people = desk.people(10)
    desk.suppress(people[3].phone, people[4].phone, "+4930123456")
    loaded = desk.load(desk.campaign(), [*people, people[0], people[3]], rejected=3)
    assert numbers(loaded) == (15, 8, 2, 3, 2)
    with desk.ledger.read() as db:
        row = db.execute(select(loads)).one()
    assert (row.rows, row.accepted, row.duplicates, row.rejected, row.suppressed) == numbers(loaded)
    assert (row.file_name, row.columns, row.loaded_at) == ("people.csv", ["phone", "name"], desk.noon)
    assert counts(desk.ledger)["recipients"] == 10


def test_a_new_recipient_waits_and_is_due(desk: "Desk") -> None:
    """A recipient goes in as they stand on the list, waiting, due at once, without an attempt."""
    person = replace(desk.people(1)[0], time_zone="America/New_York")
    desk.load(desk.campaign(), [person])
    (row,) = desk.recipients()
    assert (row.line, row.key, row.phone, row.time_zone, row.attributes, row.row) == (
        person.line,
        person.key,
        person.phone,
        person.time_zone,
        person.attributes,
        person.row,
    )
    assert (row.state, row.due_at, row.attempts) == ("waiting", AT_ONCE, 0)


def test_the_same_list_again_adds_nobody(desk: "Desk") -> None:
    """Loading twice gives each person one recipient, whatever became of them in between."""
    people = desk.people(50)
    desk.load(desk.campaign(), people)
    desk.start()
    for claimed in desk.claim(keep_queued=20):
        desk.bring(claimed, AttemptState.ENDED)
    before = desk.recipients()
    assert numbers(desk.load(desk.campaign(), people)) == (50, 0, 50, 0, 0)
    assert desk.recipients() == before


def test_a_longer_list_adds_the_new(desk: "Desk") -> None:
    """Of a list that has grown only the new rows are accepted, and they are waiting."""
    desk.load(desk.campaign(), desk.people(20))
    loaded = desk.load(desk.campaign(), desk.people(25))
    assert numbers(loaded) == (25, 5, 20, 0, 0)
    assert [row.key for row in desk.recipients()] == [f"key-{i}" for i in range(1, 26)]


def test_the_first_line_wins(desk: "Desk") -> None:
    """Of rows with one key the first of the file is taken, also across the batches of a long file."""
    twins = [replace(person, line=person.line + 9_000, phone="+4930123456") for person in desk.people(100)]
    loaded = desk.load(desk.campaign(), [*desk.people(4_000), *twins])
    assert numbers(loaded) == (4_100, 4_000, 100, 0, 0)
    rows = desk.recipients()
    assert [row.line for row in rows] == list(range(2, 4_002))
    assert {row.phone[:5] for row in rows} == {"+1415"}


def test_suppressed_people_are_recipients_who_are_never_claimed(desk: "Desk") -> None:
    """A number on the suppression list goes in as `suppressed`: to be seen, and not to be called."""
    people = desk.people(3)
    desk.suppress(people[1].phone)
    desk.load(desk.campaign(), people)
    desk.start()
    assert len(desk.claim()) == 2
    assert desk.states() == ["in_progress", "suppressed", "in_progress"]


def test_a_load_that_fails_leaves_nothing(desk: "Desk") -> None:
    """A file that cannot be read to its end leaves neither people nor the campaign, and can be repeated."""

    def breaks_off() -> Iterator[Recipient]:
        yield from desk.people(3_000)
        raise Mistake("people.csv: cannot be read: Input/output error")

    before = counts(desk.ledger)
    with pytest.raises(Mistake, match="Input/output error"):
        desk.load(desk.campaign(), breaks_off())
    assert counts(desk.ledger) == before
    assert numbers(desk.load(desk.campaign(), desk.people(3_500))) == (3_500, 3_500, 0, 0, 0)


@pytest.mark.parametrize("place", ["while streaming", "before the commit"])
def test_a_killed_load_leaves_nothing(desk: "Desk", ledger_url: str, place: str) -> None:
    """A load that is killed with SIGKILL, wherever it is, leaves nothing; repeated, it loads exactly once."""
    campaign = desk.campaign()
    loader = subprocess.Popen(
        [sys.executable, "-c", KILLED_LOAD, ledger_url, place, campaign.model_dump_json()],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with loader:
        assert loader.stdout is not None
        assert loader.stdout.readline() == b"here\n"
        loader.send_signal(signal.SIGKILL)
        loader.wait(30)
    assert set(counts(desk.ledger).values()) == {0}
    assert numbers(desk.load(campaign, desk.people(5_000))) == (5_000, 5_000, 0, 0, 0)
    assert numbers(desk.load(campaign, desk.people(5_000))) == (5_000, 0, 5_000, 0, 0)
    assert [row.key for row in desk.recipients()] == [f"key-{i}" for i in range(1, 5_001)]


def test_dialing_goes_on_while_a_list_is_read(desk: "Desk", second_desk: "Desk") -> None:
    """Reading a long list holds no lock: calls are claimed, dialed and recorded in the middle of it."""
    desk.started(4, name="running")
    (first, *claims) = desk.claim()
    dialed = []

    def people() -> Iterator[Recipient]:
        for i, person in enumerate(desk.people(6_000), start=1):
            if i in (1, 2_001, 5_999):
                claimed = claims.pop()
                second_desk.dial(claimed)
                dialed.append(second_desk.placed(claimed))
            yield person

    assert second_desk.placed(first) is False
    loaded = desk.load(desk.campaign(), people())
    assert (loaded.accepted, dialed) == (6_000, [True, True, True])


def test_two_loads_at_once_give_each_person_once(
    desk: "Desk", second_desk: "Desk", aside: Callable[..., Any]
) -> None:
    """Two processes that load overlapping lists of one campaign enter everybody once, and count all rows."""
    together = threading.Barrier(2)

    def meet(people: list[Recipient]) -> Iterator[Recipient]:
        yield from people
        together.wait(30)

    campaign = desk.campaign()
    first = aside(lambda: desk.load(campaign, meet(desk.people(3_000))))
    second = second_desk.load(campaign, meet(desk.people(3_000, first=1_001)))
    accepted = (first.result().accepted, second.accepted)
    assert sum(accepted) == 4_000
    assert (first.result().duplicates, second.duplicates) == (3_000 - accepted[0], 3_000 - accepted[1])
    assert sorted({row.key for row in desk.recipients()}) == sorted(f"key-{i}" for i in range(1, 4_001))
    assert counts(desk.ledger)["runs"] == 1


def test_a_load_waits_for_another_that_enters_the_campaign(
    postgres_ledger: Ledger,
    postgres_ledger_url: str,
    aside: Callable[..., Any],
    until_over_or_blocked: Callable[..., None],
    desk_of: Callable[[Ledger], "Desk"],
) -> None:
    """A second load of a new campaign, begun before the first is committed, succeeds after it."""
    desk = desk_of(postgres_ledger)
    campaign = desk.campaign()
    with postgres_ledger.write() as db:
        postgres_ledger.in_turn(db, Errand.LOAD)
        campaign_id, _ = put_campaign(db, campaign, desk.noon)
        runs.put_run(db, campaign_id, desk.noon)
        other = aside(lambda: desk.load(campaign, desk.people(10)))
        until_over_or_blocked(postgres_ledger, other)
    assert numbers(other.result()) == (10, 10, 0, 0, 0)


def test_a_run_does_not_finish_under_a_load(
    postgres_ledger: Ledger,
    postgres_ledger_url: str,
    desk_of: Callable[[Ledger], "Desk"],
    opened: Callable[[str], Ledger],
    at_once: Callable[..., Any],
) -> None:
    """People who are loaded just when a run would finish are not left behind in a finished one."""
    desk = desk_of(postgres_ledger)
    loader = opened(postgres_ledger_url)
    campaign = desk.campaign()
    desk.load(campaign, desk.people(1))
    desk.start()
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.ENDED)
    load, closing = at_once(
        loader,
        "INSERT INTO recipients",
        lambda: desk_of(loader).load(campaign, desk.people(5)),
        lambda: finish(postgres_ledger, desk.noon),
    )
    assert (load.result().accepted, closing.result()) == (4, 0)
    assert desk.run().state == "running"


@pytest.mark.parametrize(
    ("key", "value"), [("key", "id"), ("phone", "mobile"), ("default_region", "DE")], ids=lambda v: str(v)
)
def test_what_makes_people_the_same_cannot_change(desk: "Desk", key: str, value: str) -> None:
    """A change that would make new recipients of the same people is refused, and nothing else is changed."""
    desk.load(desk.campaign(), desk.people(2))
    before = counts(desk.ledger)
    changed = desk.campaign(list={key: value}, pacing={"weight": 7})
    with pytest.raises(Mistake, match=rf"reminders: list\.{key} cannot change once people are loaded"):
        desk.load(changed, desk.people(3))
    assert counts(desk.ledger) == before
    with desk.ledger.read() as db:
        assert runs.campaign_of(db, desk.run().id) == desk.campaign()


def test_the_instance_stays_while_its_calls_are_open(desk: "Desk") -> None:
    """Another instance knows nothing of them: a call in doubt would pass for never placed, and ring again."""
    desk.started(2)
    here = desk.campaign().connect
    elsewhere = desk.campaign(
        connect={**here.model_dump(exclude_none=True), "instance_id": "20a4c4eb-f57e-4d4c-b602-bf39176ced08"}
    )
    called, doubtful = desk.claim()
    desk.bring(called, AttemptState.ENDED)
    desk.bring(doubtful, AttemptState.UNKNOWN)
    desk.pause()
    with pytest.raises(Mistake, match=r"connect\.instance_id cannot change while calls .* are open"):
        desk.load(elsewhere, [])
    assert desk.not_found(doubtful, redial=False)
    assert desk.load(elsewhere, []).changed == ("connect.instance_id",)


def test_the_refusal_comes_before_the_list_is_read(desk: "Desk") -> None:
    """Nobody waits for a million rows to be read to be told that the campaign cannot take them."""
    desk.load(desk.campaign(), desk.people(2))
    read = []

    def people() -> Iterator[Recipient]:
        read.append(1)
        yield from desk.people(3)

    with pytest.raises(Mistake):
        desk.load(desk.campaign(list={"key": "id"}), people())
    assert read == []


@pytest.mark.parametrize(("key", "value"), [("key", "id"), ("phone", "mobile"), ("default_region", "DE")])
def test_before_anybody_is_loaded_everything_may_change(desk: "Desk", key: str, value: str) -> None:
    """A first load without a single good row fixes nothing."""
    desk.load(desk.campaign(), [], rejected=3)
    loaded = desk.load(desk.campaign(list={key: value}), desk.people(1))
    assert (loaded.changed, loaded.accepted) == ((f"list.{key}",), 1)


def test_other_changes_are_applied_and_named(desk: "Desk") -> None:
    """Everything else in the file holds from the next load on, and the answer says what changed."""
    desk.load(desk.campaign(redial={"max_attempts": 2, "busy": "10m"}), desk.people(1))
    changed = desk.campaign(
        redial={"max_attempts": 3, "busy": "5m", "no_answer": "2h"},
        pacing={"weight": 2},
        list={"attributes": {"Name": "name"}},
    )
    loaded = desk.load(changed, desk.people(1))
    assert loaded.changed == (
        "list.attributes.Name",
        "pacing.weight",
        "redial.busy",
        "redial.no_answer",
        "redial.max_attempts",
    )
    with desk.ledger.read() as db:
        assert runs.campaign_of(db, desk.run().id) == changed
    assert desk.load(changed, desk.people(1)).changed == ()


def test_a_change_reaches_a_process_that_has_read_the_old_choices(desk: "Desk", second_desk: "Desk") -> None:
    """Workers go on with the campaign's new choices without being started again."""
    desk.started(2)
    one, two = desk.claim()
    assert second_desk.dial(one).connect.source_phone_number == "+14155550199"
    changed = desk.campaign()
    changed = changed.model_copy(
        update={"connect": changed.connect.model_copy(update={"source_phone_number": "+14155550177"})}
    )
    assert desk.load(changed, []).changed == ("connect.source_phone_number",)
    assert second_desk.dial(two).connect.source_phone_number == "+14155550177"


def test_a_cancelled_campaign_takes_no_list(desk: "Desk") -> None:
    """Cancelled is for ever: a list is refused, and the message says what to do instead."""
    desk.started(2)
    desk.cancel()
    before = counts(desk.ledger)
    with pytest.raises(Mistake, match=r"reminders was cancelled, which is for ever; .* another name"):
        desk.load(desk.campaign(), desk.people(3))
    assert counts(desk.ledger) == before


def test_a_finished_campaign_takes_more(desk: "Desk") -> None:
    """New people reopen a finished run, which then waits for its start; a list without any does not."""
    people = desk.people(1)
    desk.load(desk.campaign(), people)
    desk.start()
    for claimed in desk.claim():
        desk.bring(claimed, AttemptState.ENDED)
    later = desk.noon + timedelta(hours=1)
    assert finish(desk.ledger, later) == 1
    desk.load(desk.campaign(), people)
    assert desk.run().state == "finished"
    desk.load(desk.campaign(), desk.people(2))
    assert desk.run().state == "loaded"
    assert desk.claim() == []
    desk.start()
    assert len(desk.claim()) == 1


def test_any_text_comes_back_as_it_was(desk: "Desk") -> None:
    """Other alphabets, quotes, braces, line breaks and colons survive, as dicts in both databases."""
    odd = {
        "na:me": "Zoë “O'Brien” \\ 東京 🎉",
        'quo"te': '{"json": [1, null]}',
        "%(x)s": "100% :key ?",
        "break": "a\nb\tc\u2028d",
        "": "",
    }
    person = replace(desk.people(1)[0], key="Zoë :key '; --", attributes=odd, row=odd)
    desk.load(desk.campaign(), [person])
    (row,) = desk.recipients()
    assert (row.key, row.attributes, row.row) == (person.key, odd, odd)
    desk.start()
    assert desk.dial(desk.claim()[0]).attributes == odd


def test_columns_of_all_lists_in_the_order_of_their_appearance(desk: "Desk") -> None:
    """The export has the columns of every list of the run, each once."""
    for columns in (("phone", "name"), ("id", "phone"), ("name", "zip")):
        put_list(
            desk.ledger,
            desk.campaign(),
            [],
            file_name="people.csv",
            columns=columns,
            now=desk.noon,
        )
    assert list_columns(desk.ledger, desk.run().id) == ["phone", "name", "id", "zip"]


def test_staging_is_gone_afterwards(desk: "Desk") -> None:
    """The table in which rows wait disappears with its connection, also when one ledger loads often."""
    for first in (1, 11, 21):
        desk.load(desk.campaign(), desk.people(10, first=first))
    with desk.ledger.read() as db:
        if desk.ledger.is_sqlite:
            assert db.execute(text("SELECT count(*) FROM sqlite_temp_master")).scalar_one() == 0
        else:
            assert db.execute(text("SELECT to_regclass('pg_temp.staging')")).scalar_one() is None


def test_a_recipient_is_once_in_a_run_whatever_the_program_does(desk: "Desk") -> None:
    """The database itself refuses a second recipient of the same key."""
    desk.load(desk.campaign(), desk.people(1))
    (row,) = desk.recipients()
    again = {column: value for column, value in row._mapping.items() if column != "id"}
    with pytest.raises(Exception, match=r"(?i)unique"), desk.ledger.write() as db:
        db.execute(insert(recipients).values(again))
