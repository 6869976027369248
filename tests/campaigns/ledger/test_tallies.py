"""What the database counts itself is what counting would find, whatever happens to anybody."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, text

from campaigns.attempt import AttemptState, Outcome, RecipientState
from campaigns.ledger import Ledger
from campaigns.ledger.figures import first_and_last, lines, page
from campaigns.ledger.moves import Order
from campaigns.ledger.tables import attempts, recipients, tallies
from campaigns.ledger.tallies import Tallies, fold, tallied
from campaigns.ledger.waiting import waiting

if TYPE_CHECKING:
    from tests.conftest import Desk

DENVER, BERLIN = "America/Denver", "Europe/Berlin"


def counted(desk: "Desk", name: str = "reminders") -> Tallies:
    """As somebody finds it who goes through all of them."""
    people, rows = desk.recipients(name), desk.attempts(name)
    return Tallies(
        recipients=dict(Counter(person.state for person in people)),
        waiting=dict(Counter(person.zones for person in people if person.state == "waiting")),
        attempts=dict(Counter(row.state for row in rows)),
        outcomes=dict(Counter(row.outcome for row in rows if row.outcome)),
        not_found=sum(row.state == AttemptState.UNKNOWN and row.settle_at is None for row in rows),
    )


def told(desk: "Desk", name: str = "reminders") -> Tallies:
    """As the database has counted."""
    run_id = desk.run(name).id
    with desk.ledger.read() as db:
        return tallied(db, run_id)


def rows_of(ledger: Ledger) -> int:
    with ledger.read() as db:
        return int(db.execute(select(func.count()).select_from(tallies)).scalar_one())


NEWER_COLUMNS = (
    ("campaigns", "exchange"),
    ("campaigns", "revision"),
    ("runs", "endpoint"),
    ("attempts", "replays"),
    ("heartbeats", "endpoint"),
    ("attempts", "error_code"),
    ("heartbeats", "problem_code"),
    ("heartbeats", "problems"),
    ("heartbeats", "worked_at"),
    ("heartbeats", "failure_code"),
    ("heartbeats", "failed_at"),
    ("heartbeats", "failures"),
    ("heartbeats", "clock_skew"),
    ("recipients", "dropped_by"),
    ("suppressions", "source"),
    ("campaigns", "file"),
    ("campaigns", "file_hash"),
    ("campaigns", "file_changed_at"),
)


def make_old(ledger: Ledger) -> None:
    """As the version before left it."""
    with ledger.write() as db:
        for table in ("recipients", "attempts"):
            on = "" if ledger.is_sqlite else f" ON {table}"
            for when in ("new", "moved", "gone"):
                db.execute(text(f"DROP TRIGGER tally_{when}_{table}{on}"))
            if not ledger.is_sqlite:
                db.execute(text(f"DROP FUNCTION tally_{table}"))
        indexes = ("ix_attempts_refused", "ix_recipients_run_state", "ix_recipients_dropped")
        for what in ("TABLE tallies", *(f"INDEX {index}" for index in indexes)):
            db.execute(text(f"DROP {what}"))
        db.execute(text("CREATE INDEX ix_recipients_run_state ON recipients (run_id, state)"))
        for table, column in NEWER_COLUMNS:
            db.execute(text(f"ALTER TABLE {table} DROP COLUMN {column}"))
        for table in ("identity", "positions", "brakes", "recipient_history", "rehearsal"):
            db.execute(text(f"DROP TABLE {table}"))
        db.execute(text("UPDATE alembic_version SET version_num = '0004'"))


def test_every_state_is_counted(desk: "Desk") -> None:
    """One attempt in each state, a redial, and people of two runs: each run has its own counts."""
    desk.started(9)
    desk.started(3, name="another")
    for claimed, state in zip(desk.claim(14), AttemptState, strict=False):
        desk.bring(claimed, state)
    desk.cancel("another")
    for name in ("reminders", "another"):
        assert told(desk, name) == counted(desk, name)
    assert told(desk).attempts.keys() | told(desk, "another").attempts.keys() == set(AttemptState)


def test_who_waits_is_counted_by_where_they_are(desk: "Desk") -> None:
    """Zones count while somebody waits; a correction moves them, and who has none is counted as such."""
    people = [replace(p, zones=z) for p, z in zip(desk.people(3), (DENVER, None, BERLIN), strict=True)]
    desk.load(desk.campaign(), people)
    assert told(desk).waiting == {DENVER: 1, None: 1, BERLIN: 1}
    desk.load(desk.campaign(), [replace(p, zones=BERLIN) for p in people])
    with desk.ledger.write() as db:
        db.execute(text("UPDATE recipients SET zones = 'Asia/Tokyo' WHERE line = 2"))
    assert told(desk) == counted(desk)
    desk.start()
    desk.claim()
    assert told(desk).waiting == {}
    assert told(desk).recipients == {"in_progress": 3}


def test_whoever_is_there_already_is_not_counted_again(desk: "Desk") -> None:
    """A list that is loaded again, or half of it, adds nobody to the counts either."""
    people = desk.people(5)
    for part in (people[:2], people, people[3:]):
        desk.load(desk.campaign(), part)
    assert told(desk).recipients == {"waiting": 5}


def test_what_is_not_committed_is_not_counted(desk: "Desk") -> None:
    """A transaction that is rolled back takes its counts with it."""
    run_id = desk.started(3).id
    before = told(desk)
    with desk.ledger.connection() as db, db.begin() as transaction:
        db.execute(text("UPDATE recipients SET state = 'done'"))
        assert tallied(db, run_id).recipients == {"done": 3}
        transaction.rollback()
    assert told(desk) == before == counted(desk)


def test_an_outcome_that_comes_late_is_counted_instead(desk: "Desk") -> None:
    """The same state with another outcome: the old one is not counted any more."""
    desk.started(1)
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.PLACED)
    desk.ended(claimed, Outcome.NO_OUTCOME)
    with desk.ledger.write() as db:
        db.execute(attempts.update().values(outcome=Outcome.BUSY))
    assert told(desk).outcomes == {"busy": 1}


def test_changes_are_folded_and_the_sums_stay(desk: "Desk") -> None:
    """Of many changes one row for each count is left, and none for what there is none of."""
    desk.started(20)
    for claimed in desk.claim():
        desk.bring(claimed, AttemptState.ENDED)
    before = told(desk)
    for _ in range(2):
        fold(desk.ledger)
        assert told(desk) == before == counted(desk)
    with desk.ledger.read() as db:
        rows = db.execute(select(tallies.c.what, tallies.c.state, tallies.c.n).where(tallies.c.n != 0)).all()
    assert sorted(rows) == [("attempts", "ended", 20), ("recipients", "done", 20)]


def test_what_nobody_searches_for_any_more_is_counted(desk: "Desk") -> None:
    """Of the unknown ones, those that were never found; and no more when a late answer settles one."""
    desk.started(3)
    first, second, third = desk.claim()
    for claimed in (first, second, third):
        desk.bring(claimed, AttemptState.UNKNOWN)
    assert (told(desk).attempts, told(desk).not_found) == ({"unknown": 3}, 0)
    for claimed, redial in ((first, True), (second, False)):
        assert desk.not_found(claimed, redial=redial)
    assert told(desk) == counted(desk)
    assert (told(desk).attempts, told(desk).not_found, told(desk).outcomes) == ({"unknown": 3}, 2, {})
    desk.placed(second)
    assert told(desk) == counted(desk)
    assert told(desk).not_found == 1


def test_an_old_ledger_is_counted_when_it_is_brought_up_to_date(
    desk: "Desk", ledger_url: str, opened: Callable[[str], Ledger]
) -> None:
    """What the migration counts is what its triggers would have."""
    desk.started(9)
    for claimed, state in zip(desk.claim(7), AttemptState, strict=True):
        desk.bring(claimed, state)
    for claimed in desk.claim(2):
        desk.bring(claimed, AttemptState.UNKNOWN)
        assert desk.not_found(claimed, redial=True)
    before = counted(desk)
    make_old(desk.ledger)
    opened(ledger_url)
    assert told(desk) == before
    assert before.not_found
    desk.claim()
    assert told(desk) == counted(desk)


def test_a_worker_that_is_about_to_write_goes_before_the_migration(
    desk_of: "type[Desk]",
    postgres_ledger: Ledger,
    postgres_ledger_url: str,
    opened: Callable[[str], Ledger],
    aside: Callable[[Callable[[], Any]], Any],
    until_over_or_blocked: Callable[[Ledger, Any], None],
) -> None:
    """An old worker that holds somebody, and has not written yet, is waited for; neither fails."""
    desk = desk_of(postgres_ledger)
    desk.started(3)
    make_old(postgres_ledger)
    with postgres_ledger.write() as db:
        db.execute(select(recipients.c.id).with_for_update())
        migration = aside(lambda: opened(postgres_ledger_url))
        until_over_or_blocked(postgres_ledger, migration)
        db.execute(recipients.update().values(state="done"))
    migration.result()
    assert told(desk) == counted(desk)
    assert told(desk).recipients == {"done": 3}


def test_many_at_once_are_all_counted(
    two_desks: "tuple[Desk, Desk]", postgres_ledger: Ledger, aside: Callable[[Callable[[], Any]], Any]
) -> None:
    """Workers who move people at the same time, while two fold and somebody reads: no count is lost or made
    twice, and at no moment is anybody missing from the sum, or in it twice."""
    one, other = two_desks
    one.started(60)
    claims = one.claim()
    over = threading.Event()

    def dial(desk: "Desk", mine: list[Any]) -> None:
        for claimed in mine:
            assert isinstance(desk.dial(claimed), Order)
            desk.placed(claimed)
            desk.ended(claimed, Outcome.BUSY)

    def tidy(desk: "Desk") -> int:
        rounds = 0
        while not over.is_set():
            fold(desk.ledger)
            rounds += 1
        return rounds

    workers = [aside(lambda n=n: dial((one, other)[n % 2], claims[n::4])) for n in range(4)]
    folders = [aside(lambda desk=desk: tidy(desk)) for desk in (one, other)]
    while any(worker.is_alive() for worker in workers):
        seen = told(one)
        assert sum(seen.recipients.values()) == 60
        assert sum(seen.attempts.values()) == 60
    for worker in workers:
        worker.result()
    over.set()
    assert all(folder.result() for folder in folders)
    fold(one.ledger)
    assert told(one) == counted(one)
    assert (told(one).recipients, told(one).outcomes) == ({"done": 60}, {"busy": 60})
    assert rows_of(postgres_ledger) == 2


def test_counting_goes_through_nobody(desk: "Desk", plans: Callable[..., list[str]]) -> None:
    """The counts of a run, and its first and last, are read without a walk through its people."""
    run = desk.started(3_000)
    with desk.ledger.write() as db:
        db.execute(text("ANALYZE"))

    def read() -> None:
        with desk.ledger.read() as db:
            tallied(db, run.id)
            first_and_last(db, run.id)

    tally, ends = [plan for plan in plans(desk.ledger, read) if "tallies" in plan or "UNION ALL" in plan]
    assert "recipients" not in tally
    looks = 2 * len(RecipientState)
    if desk.ledger.is_sqlite:
        assert ends.count("USING COVERING INDEX ix_recipients_run_state ((run_id,state)") == looks
    else:
        assert ends.count("using ix_recipients_run_state on recipients") == looks
        assert ends.count("Index Cond: (ROW(run_id, state, id)") == looks


def test_the_ends_of_a_run_are_found_in_any_state(desk: "Desk") -> None:
    """The smallest and the largest id, whatever states they are in, and nobody else's; nobody has none."""
    desk.load(desk.campaign("empty"), [])
    desk.started(1, name="before")
    run = desk.started(5)
    desk.started(1, name="later")
    ids = [row.id for row in desk.recipients()]
    with desk.ledger.write() as db:
        for person, state in ((ids[0], "done"), (ids[-1], "held")):
            db.execute(recipients.update().where(recipients.c.id == person).values(state=state))
    with desk.ledger.read() as db:
        assert first_and_last(db, run.id) == (ids[0], ids[-1])
        assert first_and_last(db, desk.run("empty").id) is None
    assert [line.recipient.id for line in page(desk.ledger, run.id, ids[1], ids[3])] == ids[1:4]
    assert [line.recipient.id for line in lines(desk.ledger, run.id)] == ids


def test_whoever_is_claimed_between_two_reads_is_not_less_than_nobody(desk: "Desk") -> None:
    """Later people are told apart from those who are due, and together they are all who wait."""
    desk.load(desk.campaign(), [replace(p, zones=DENVER) for p in desk.people(4)])
    run_id = desk.run().id
    with desk.ledger.write() as db:
        late = desk.noon + timedelta(hours=1)
        db.execute(recipients.update().where(recipients.c.line == 2).values(due_at=late))
    with desk.ledger.read() as db:
        everybody = tallied(db, run_id).waiting
        (group,) = waiting(db, run_id, desk.noon, counted=everybody, by_zones=True)
        # Three of them were claimed between the one read and the other.
        (fewer,) = waiting(db, run_id, desk.noon, counted={DENVER: 0}, by_zones=True)
    assert (group.due, group.recipients) == (3, 4)
    assert (fewer.due, fewer.recipients) == (0, 1)
