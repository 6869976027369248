import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import JSON, select, text

from campaigns.ledger import Ledger, LedgerUnavailable, lists, open_ledger, postgresql, preparation, staging
from campaigns.ledger.preparation import prepare, step
from campaigns.ledger.staging import Batch, Miscounted, as_json, stage
from campaigns.ledger.tables import campaigns, loads, recipients, runs
from campaigns.recipient import Recipient

if TYPE_CHECKING:
    from tests.conftest import Desk

OTHERS = "FROM pg_stat_activity WHERE application_name = 'dialer' AND datname = current_database()"
LOCKS = """
    SELECT locktype, coalesce(relname, '') FROM pg_locks
    JOIN pg_stat_activity USING (pid) LEFT JOIN pg_class ON pg_class.oid = pg_locks.relation
    WHERE application_name = 'dialer' AND datname = current_database()
"""


@given(st.dictionaries(st.text(), st.text()))
def test_the_texts_are_those_of_json(cells: dict[str, str]) -> None:
    """What stands in the ledger is, to the letter, what json.dumps makes of the cells."""
    assert as_json(cells) == json.dumps(cells, ensure_ascii=False)


@pytest.mark.parametrize("cells", [{}, {"": ""}, {'"\\/\b\f\n\r\t\x00\x1f\x7f': "\u2028é東🎉\ud800"}])
def test_awkward_texts_are_those_of_json(cells: dict[str, str]) -> None:
    """Quotes, controls, other alphabets and halves of characters are written as json.dumps writes them."""
    assert as_json(cells) == json.dumps(cells, ensure_ascii=False)


def test_everything_of_a_recipient_is_staged(desk: "Desk") -> None:
    """Whatever text the cells hold, tabs, backslashes and the driver's own signs too, arrives as it was."""
    odd = "\\N\t\\.\n\r\\\\ 'Zoë' \"東京\" {} \x01\x7f"
    later = {"appointment_at": desk.noon, "due_at": desk.noon, "expires_at": desk.noon}
    plain = replace(desk.people(1)[0], key=odd, attributes={odd: odd}, row={odd: odd, "": ""})
    dated = replace(plain, line=3, time_zone="Asia/Tokyo", zones="Asia/Tokyo", reminder="24h", **later)
    with desk.ledger.connection() as db:
        db.detach()
        prepare(desk.ledger, db)
        batch = Batch(rejected=1, appointments=[(4, odd, desk.noon)])
        batch.accept([plain])
        batch.accept([dated])
        assert stage(db, [batch]) == (2, 1)
        with step(db):
            query = text("SELECT * FROM staging ORDER BY line")
            rows = [dict(row._mapping) for row in db.execute(query.columns(attributes=JSON, row=JSON))]
    nothing = dict.fromkeys(rows[0])
    noon = 1_772_452_800_000_000
    cells = {"attributes": {odd: odd}, "row": {odd: odd, "": ""}}
    person = nothing | cells | {"key": odd, "phone": plain.phone, "enter_as": odd}
    times = {"appointment_at": noon, "due_at": noon, "expires_at": noon, "reminder": "24h"}
    zones = {"time_zone": "Asia/Tokyo", "zones": "Asia/Tokyo"}
    keys = {"list_key": odd, "dated_key": f"{odd} 2026-03-02T12:00:00Z"}
    rejected = {"key": "", "phone": "", "list_key": odd, "appointment_at": noon, "attributes": {}, "row": {}}
    assert rows == [
        person | {"line": 2, "due_at": 0},
        person | {"line": 3} | times | zones | keys,
        nothing | rejected | {"line": 4, "due_at": 0},
    ]


def test_no_lock_is_held_while_the_list_is_read(
    desk_of: "type[Desk]", postgres_ledger: Ledger, postgres_ledger_url: str
) -> None:
    """However slowly a list is read, nobody waits for it: it holds its own table, and no old snapshot."""
    desk, snapshots, locks = desk_of(postgres_ledger), [], []
    desk.load(desk.campaign(), desk.people(1))
    with closing(psycopg.connect(bare(postgres_ledger_url), autocommit=True)) as watcher:

        def people() -> Iterator[Recipient]:
            for person in desk.people(4_100):
                if person.line % 1_000 == 0:
                    snapshots.extend(watcher.execute(f"SELECT backend_xmin {OTHERS}").fetchall())
                    locks.extend(watcher.execute(LOCKS).fetchall())
                yield person

        assert desk.load(desk.campaign(), people()).accepted == 4_099
    assert set(snapshots) == {(None,)}
    assert {kind for kind, _ in locks} <= {"virtualxid", "transactionid", "object", "relation"}
    ours = {name for kind, name in locks if kind == "relation" and not name.startswith("pg_")}
    # Its own table has no name for others yet.
    assert ours == {""}


def test_a_slow_list_is_waited_for(
    desk_of: "type[Desk]", postgres_ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the rows of a list there may be more time than in any other transaction.

    Fails without: `_READING_SECONDS`.
    """
    monkeypatch.setattr(postgresql, "IDLE_SECONDS", 0.1)
    with (
        closing(open_ledger(postgres_ledger_url)) as ledger,
        closing(psycopg.connect(bare(postgres_ledger_url), autocommit=True)) as clock,
    ):
        desk = desk_of(ledger)

        def people() -> Iterator[Recipient]:
            for person in desk.people(1_500):
                if person.line == 1_200:
                    clock.execute("SELECT pg_sleep(0.5)")
                yield person

        assert desk.load(desk.campaign(), people()).accepted == 1_500


def test_who_enters_a_list_is_not_waited_for(
    desk_of: "type[Desk]", postgres_ledger: Ledger, postgres_ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loader that is stopped with the lock in its hands loses it, and nothing of its list is entered.

    Fails without: the second `_allow_idle`.
    """
    monkeypatch.setattr(preparation, "IDLE_SECONDS", 0.1)
    desk = desk_of(postgres_ledger)
    with closing(psycopg.connect(bare(postgres_ledger_url), autocommit=True)) as clock:
        monkeypatch.setattr(lists, "_check_counts", lambda *_: clock.execute("SELECT pg_sleep(0.5)"))
        with pytest.raises(LedgerUnavailable):
            desk.load(desk.campaign(), desk.people(3))
    with postgres_ledger.read() as db:
        assert db.execute(select(recipients.c.id)).all() == []


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        (lambda rows: rows[:-1], "1,000 rows were sent to the ledger's database, and it has 999"),
        (lambda rows: [*rows, rows[0]], "1,000 rows were sent to the ledger's database, and it has 1,001"),
    ],
)
def test_a_list_that_does_not_arrive_whole_is_not_loaded(
    desk: "Desk", monkeypatch: pytest.MonkeyPatch, breaks: Callable[[list[Any]], list[Any]], says: str
) -> None:
    """A row that is lost or doubled on the way is found before anybody is entered."""
    put = staging._put
    monkeypatch.setattr(staging, "_put", lambda db, rows: put(db, breaks(rows) if rows else rows))
    with pytest.raises(Miscounted, match=f"^{says}; nothing was loaded"):
        desk.load(desk.campaign(), desk.people(1_000))
    assert_empty(desk.ledger)


@pytest.mark.parametrize(
    ("merge", "says"),
    [
        # Other people's rows beside ours: more are entered than the list has.
        (
            "WHERE enter_as IS NOT NULL",
            "of 20 rows the ledger's database counts 40 accepted, -20 duplicates, 0 suppressed, 0 rejected",
        ),
    ],
)
def test_counts_that_do_not_add_up_are_no_load(
    desk: "Desk", monkeypatch: pytest.MonkeyPatch, merge: str, says: str
) -> None:
    """More people entered than the list has is an error and not a report, and undoes the load."""
    twice = "CROSS JOIN (SELECT '' AS suffix UNION ALL SELECT ' again') AS copies WHERE enter_as IS NOT NULL"
    broken = lists._MERGE.replace("line, enter_as,", "line, enter_as || suffix,").replace(merge, twice)
    monkeypatch.setattr(lists, "_MERGE", broken)
    with pytest.raises(Miscounted, match=f"^{says}; nothing was loaded"):
        desk.load(desk.campaign(), desk.people(20))
    assert_empty(desk.ledger)


@pytest.mark.parametrize(
    "counts", [(3, 1, 1, 0, 0), (2, 1, 1, 1, 0), (2, 3, -1, 0, 0), (2, -1, 3, 0, 0), (0, 0, 0, 1, -1)]
)
def test_every_row_is_counted_once(counts: tuple[int, int, int, int, int]) -> None:
    """(rows, accepted, duplicates, suppressed, rejected) that miss a row, have one twice, or are below 0."""
    with pytest.raises(Miscounted, match="nothing was loaded"):
        lists._check_counts(*counts)


def assert_empty(ledger: Ledger) -> None:
    with ledger.read() as db:
        for table in (campaigns, runs, loads, recipients):
            assert db.execute(select(table.c.id)).all() == []


def test_a_ledger_that_goes_away_under_a_load_is_said_in_one_line(
    desk_of: "type[Desk]", postgres_ledger: Ledger, postgres_ledger_url: str
) -> None:
    """A server that is restarted in the middle is a ledger that does not answer, and nothing was entered."""
    desk = desk_of(postgres_ledger)
    with closing(psycopg.connect(bare(postgres_ledger_url), autocommit=True)) as operator:

        def people() -> Iterator[Recipient]:
            for person in desk.people(5_000):
                if person.line == 2_500:
                    operator.execute(f"SELECT pg_terminate_backend(pid, 5000) {OTHERS}")
                yield person

        with pytest.raises(LedgerUnavailable, match=r"^the ledger's database does not answer: .+\Z"):
            desk.load(desk.campaign(), people())
    assert desk.load(desk.campaign(), desk.people(10)).accepted == 10


def test_a_list_does_not_correct_itself(desk: "Desk") -> None:
    """Of rows with one key the first has its say, in the list that enters them as in any list after it."""
    (one,) = desk.people(1)
    berlin = replace(one, time_zone="Europe/Berlin", zones="Europe/Berlin")
    tokyo = replace(one, line=3, time_zone="Asia/Tokyo", zones="Asia/Tokyo")
    for accepted in (1, 0):
        loaded = desk.load(desk.campaign(), [berlin, tokyo])
        assert (loaded.accepted, loaded.duplicates, loaded.other_zones) == (accepted, 2 - accepted, 0)
        assert [row.time_zone for row in desk.recipients()] == ["Europe/Berlin"]
    loaded = desk.load(desk.campaign(), [replace(tokyo, line=2), replace(berlin, line=3)])
    assert (loaded.accepted, loaded.duplicates, loaded.other_zones) == (0, 2, 1)
    assert [row.time_zone for row in desk.recipients()] == ["Asia/Tokyo"]


def test_people_have_their_ids_in_the_order_of_the_list(desk: "Desk") -> None:
    """Whoever stands further up has the lower id, in whatever order their keys and numbers are."""
    people = desk.people(6_000)
    shuffled = [replace(person, key=f"{person.line * 7_919 % 6_007}") for person in people]
    desk.load(desk.campaign(), shuffled)
    with desk.ledger.read() as db:
        lines = db.execute(select(recipients.c.line).order_by(recipients.c.id)).scalars().all()
    assert list(lines) == list(range(2, 6_002))


def bare(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://")
