"""The suppression list: numbers that are never called, by any campaign or by one.

Nothing here is lost by a crash in between: whatever still waits when its number is on the list is not dialed
(`mark_dialing` asks the list), and is suppressed then.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import (
    ARRAY,
    Connection,
    String,
    bindparam,
    case,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    text,
    update,
)

from campaigns.attempt import AttemptState, RecipientState
from campaigns.ledger.engine import Ledger, begun
from campaigns.ledger.preparation import create_temporary, entering, prepare, step
from campaigns.ledger.tables import (
    EVERY_CAMPAIGN,
    attempts,
    microseconds,
    recipients,
    runs,
    suppression_history,
    suppressions,
)
from campaigns.same_telephone import all_forms, forms

_PIECE = 5_000  # numbers a transaction, and a parameter

# As a list, the numbers wait in a temporary table (preparation.py).
_STAGING = """
    CREATE TEMPORARY TABLE barred (
        phone VARCHAR(16) PRIMARY KEY, reason TEXT NOT NULL, added_at BIGINT NOT NULL, source VARCHAR(20),
        as_given INTEGER NOT NULL
    )
"""

_STAGE_IN_SQLITE = """
    INSERT INTO barred VALUES (?, ?, ?, ?, ?) ON CONFLICT (phone) DO NOTHING
"""

_STAGE_IN_POSTGRESQL = """
    INSERT INTO barred
    SELECT * FROM unnest(
        CAST(:phones AS varchar[]), CAST(:reasons AS text[]), CAST(:times AS bigint[]),
        CAST(:sources AS varchar[]), CAST(:as_given AS integer[])
    )
    ON CONFLICT (phone) DO NOTHING
"""

# The first entry for a number holds, with its reason and its date; the history has each addition once. In the
# order of the numbers, or two who put the same ones in would wait for each other.
_ENTER_IN_POSTGRESQL = (
    """
    WITH entered AS (
        INSERT INTO suppressions (phone, campaign_id, reason, added_at, source)
        SELECT phone, :campaign_id, reason, added_at, source FROM barred ORDER BY phone
        ON CONFLICT DO NOTHING
        RETURNING phone, reason
    )
    INSERT INTO suppression_history (phone, campaign_id, what, reason, at)
    SELECT phone, :campaign_id, 'added', reason, :now FROM entered ORDER BY phone
    """,
)
# SQLite cannot take what one statement has entered into another; but nobody writes in between there.
_ENTER_IN_SQLITE = (
    """
    INSERT INTO suppression_history (phone, campaign_id, what, reason, at)
    SELECT phone, :campaign_id, 'added', reason, :now FROM barred
    WHERE NOT EXISTS (
        SELECT 1 FROM suppressions
        WHERE suppressions.phone = barred.phone AND suppressions.campaign_id = :campaign_id
    )
    ORDER BY phone
    """,
    """
    INSERT INTO suppressions (phone, campaign_id, reason, added_at, source)
    SELECT phone, :campaign_id, reason, added_at, source FROM barred WHERE true ORDER BY phone
    ON CONFLICT DO NOTHING
    """,
)

# What the company has been told itself stays on the list, whatever the national file says later.
_KEEP = """
    UPDATE suppressions SET source = NULL
    WHERE campaign_id = :campaign_id AND source IS NOT NULL AND EXISTS (
        SELECT 1 FROM barred WHERE barred.phone = suppressions.phone AND barred.source IS NULL
    )
"""

_NEW = """
    SELECT count(*) FROM barred WHERE as_given = 1 AND NOT EXISTS (
        SELECT 1 FROM suppressions
        WHERE suppressions.phone = barred.phone AND suppressions.campaign_id = :campaign_id
    )
"""

campaign_of_recipient = (
    select(runs.c.campaign_id).where(runs.c.id == recipients.c.run_id).correlate(recipients).scalar_subquery()
)
"""The campaign of a recipient, where a query has no runs."""


def suppressed(phone: Any, campaign_id: Any) -> Any:
    """The condition that a number (a column, or E.164) may not be called by a campaign."""
    for_it = or_(
        suppressions.c.campaign_id == literal_column(str(EVERY_CAMPAIGN)),
        suppressions.c.campaign_id == campaign_id,
    )
    return exists().where(suppressions.c.phone == phone, for_it)


WAITS_UNLESS_DROPPED = case(
    (recipients.c.dropped_by.is_not(None), literal_column("'dropped'")), else_=literal_column("'waiting'")
)
"""The state of a recipient whose attempt came back: `dropped`, if they were taken out meanwhile."""

WAITS_IF_ALLOWED = case(
    (recipients.c.dropped_by.is_not(None), literal_column("'dropped'")),
    (suppressed(recipients.c.phone, campaign_of_recipient), literal_column("'suppressed'")),
    else_=literal_column("'waiting'"),
)
"""The state of a recipient who would wait (again): `suppressed`, if the number is on the list by now; or
`dropped`, if they were taken out meanwhile."""


NOT_FOR_THE_LIMIT = func.nullif(recipients.c.waits_for, literal_column("'limit'"))
"""What somebody waits for besides the limits. The time of an appointment that has moved is still to come."""


class StoppedHalfWay(KeyboardInterrupt):
    """Ctrl-C when the numbers were on the list already. Its text says what holds."""

    def __init__(self) -> None:
        super().__init__("the numbers are on the list, and are not called; the same command does the rest")


@dataclass(frozen=True, slots=True)
class Number:
    """One number that is not to be called."""

    phone: str
    """E.164."""
    reason: str
    added_at: datetime
    """When somebody asked not to be called; it may be long ago."""
    source: str | None = None
    """NATIONAL, or None."""


@dataclass(frozen=True, slots=True)
class Put:
    """What became of numbers that were put on the list."""

    numbers: int
    """Each telephone counted once, however many numbers it has (campaigns/same_telephone.py)."""
    added: int
    """Those that were not on it already."""
    withdrawn: int
    """The recipients who waited, or were queued, and are not called any more."""
    under_way: int
    """Calls to these numbers that have left already, and go on."""


def put_numbers(ledger: Ledger, numbers: Iterable[Number], *, campaign_id: int, now: datetime) -> Put:
    """Put numbers on the list of a campaign, or of EVERY_CAMPAIGN: all of them, or, by an exception, none.

    A telephone that has several E.164 numbers is entered with all of them: lists of people may have any.

    Whoever waits for a call, or is queued for one, is suppressed when this returns; calls that have left go
    on. A number that is on that list already stays as it is. `numbers` is consumed before the ledger is
    locked. Raises StoppedHalfWay for Ctrl-C after they are on the list.
    """
    with ledger.connection() as db:
        db.detach()  # closed at the end instead of pooled, and its staging table with it
        prepare(ledger, db)
        staged, pages = _stage(ledger, db, numbers)
        # A few are one step for everybody. With a million, the list comes first, so that none of them is
        # dialed any more, and who waits follows piece by piece, or nobody could dial meanwhile.
        few = len(pages) <= 1
        # A list that is being loaded would not see these numbers, nor we its people.
        with entering(ledger, db):
            phones = [phone for page in pages for phone in page.split()] if few else []
            hold_runs_with(ledger, db, phones, campaign_id)
            added = _enter(ledger, db, campaign_id, now)
            withdrawn, under_way = _withdraw(ledger, db, phones, campaign_id)
        try:
            for phones in [] if few else map(str.split, pages):
                with begun(db, "DEFERRED"):
                    if not _anybody(ledger, db, phones, campaign_id):
                        continue
                with begun(db, "IMMEDIATE"):
                    hold_runs_with(ledger, db, phones, campaign_id)
                    these = _withdraw(ledger, db, phones, campaign_id)
                    withdrawn, under_way = withdrawn + these[0], under_way + these[1]
        except KeyboardInterrupt:
            raise StoppedHalfWay from None
        return Put(staged, added, withdrawn, under_way)


def put_one(db: Connection, number: Number, campaign_id: int) -> bool:
    """Put one telephone on a list, as a part of what else happens. Returns False if it was there already.

    The last step of its transaction: whoever puts more in may be waited for. `withdraw` is to follow it.
    """
    new = text(
        "INSERT INTO suppressions (phone, campaign_id, reason, added_at) "
        "VALUES (:phone, :campaign_id, :reason, :at) ON CONFLICT DO NOTHING"
    )
    entered = False
    # In the order in which a file's numbers are entered, or two would wait for each other.
    for phone in sorted(forms(number.phone)):
        entry = {"phone": phone, "campaign_id": campaign_id, "reason": number.reason}
        if db.execute(new, {**entry, "at": microseconds(number.added_at)}).rowcount:
            db.execute(insert(suppression_history).values(what="added", at=number.added_at, **entry))
            entered = True
    return entered


def withdraw(ledger: Ledger, phones: Sequence[str], campaign_id: int) -> int:
    """Suppress recipients who wait, or are queued, with one of these telephones, which are on the list.

    Returns how many recipients.
    """
    phones = all_forms(phones)
    with ledger.write() as db:
        hold_runs_with(ledger, db, phones, campaign_id)
        return _withdraw(ledger, db, phones, campaign_id)[0]


def hold_runs_with(ledger: Ledger, db: Connection, phones: Sequence[str], campaign_id: int) -> None:
    """Nobody is claimed, ends a call, or is cancelled in the runs that have these numbers."""
    # The runs first, as everybody has it who goes on to attempts and recipients.
    with_them = select(recipients.c.run_id).where(*_theirs(ledger, phones, campaign_id))
    mine = select(runs.c.id).where(runs.c.id.in_(with_them)).order_by(runs.c.id)
    db.execute(mine.with_for_update(key_share=True, of=runs))


def _stage(ledger: Ledger, db: Connection, numbers: Iterable[Number]) -> tuple[int, list[str]]:
    """Write the numbers to a table `barred`. Returns how many telephones, and all numbers by pieces.

    A piece is the numbers with spaces between them, which takes a fifth of the memory of a list. They are
    needed when the table is gone.
    """
    with step(db):
        create_temporary(db, _STAGING)
    stream = iter(numbers)
    while batch := list(islice(stream, _PIECE)):
        rows = []
        for each in batch:
            entry = (each.reason, microseconds(each.added_at), each.source)
            given, *others = forms(each.phone)
            rows.append((given, *entry, 1))
            if others:
                rows += [(phone, *entry, 0) for phone in others]
        with step(db):
            if ledger.is_sqlite:
                db.exec_driver_sql(_STAGE_IN_SQLITE, rows)
            else:
                # As the rows of five parameters: one by one a million would take a minute.
                columns = [list(column) for column in zip(*rows, strict=True)]
                names = ("phones", "reasons", "times", "sources", "as_given")
                db.execute(text(_STAGE_IN_POSTGRESQL), dict(zip(names, columns, strict=True)))
    with step(db):
        if not ledger.is_sqlite:
            db.execute(text("ANALYZE barred"))
        staged = int(db.execute(text("SELECT count(*) FROM barred WHERE as_given = 1")).scalar_one())
    return staged, [" ".join(page) for page in _pages(db)]


def _enter(ledger: Ledger, db: Connection, campaign_id: int, now: datetime) -> int:
    """Returns how many telephones are new."""
    these = {"campaign_id": campaign_id, "now": microseconds(now)}
    others = db.execute(text("SELECT EXISTS (SELECT 1 FROM barred WHERE as_given = 0)")).scalar_one()
    new = int(db.execute(text(_NEW), these).scalar_one()) if others else None
    db.execute(text(_KEEP), these)
    statements = _ENTER_IN_SQLITE if ledger.is_sqlite else _ENTER_IN_POSTGRESQL
    # Each of them says how many numbers are new.
    entered = [db.execute(text(statement), these).rowcount for statement in statements][-1]
    return entered if new is None else new


def _pages(db: Connection) -> Iterator[list[str]]:
    phones = [""]
    while True:
        with step(db):
            phones = _page(db, phones[-1])
        if not phones:
            return
        yield phones


def _page(db: Connection, after: str) -> list[str]:
    query = text("SELECT phone FROM barred WHERE phone > :after ORDER BY phone LIMIT :limit")
    return list(db.execute(query, {"after": after, "limit": _PIECE}).scalars())


def _anybody(ledger: Ledger, db: Connection, phones: Sequence[str], campaign_id: int) -> bool:
    query = select(recipients.c.id).where(*_theirs(ledger, phones, campaign_id))
    return db.execute(query.limit(1)).first() is not None


def _withdraw(ledger: Ledger, db: Connection, phones: Sequence[str], campaign_id: int) -> tuple[int, int]:
    """Returns how many recipients are suppressed by it, and how many of their calls go on."""
    if not phones:
        return 0, 0
    theirs = _theirs(ledger, phones, campaign_id)
    of_theirs = attempts.join(recipients, recipients.c.id == attempts.c.recipient_id)
    # In the order in which all who take back what is queued have it, or they would wait for each other.
    queued = (
        select(attempts.c.id)
        .select_from(of_theirs)
        .where(*theirs, attempts.c.state == AttemptState.QUEUED)
        .order_by(attempts.c.lease_until, attempts.c.id)
        .with_for_update(of=attempts)
    )
    taken = update(attempts).where(attempts.c.id.in_(queued)).returning(attempts.c.recipient_id)
    ids = list(db.execute(taken.values(state=AttemptState.RETURNED, reason="suppressed")).scalars())
    waiting = select(recipients.c.id).where(*theirs, recipients.c.state == RecipientState.WAITING)
    waiting = waiting.order_by(recipients.c.id).with_for_update(key_share=True)
    becomes = {"state": RecipientState.SUPPRESSED, "waits_for": NOT_FOR_THE_LIMIT}
    suppressed_now = db.execute(
        update(recipients).where(recipients.c.id.in_(waiting)).values(becomes)
    ).rowcount
    for first in range(0, len(ids), 500):
        suppressed_now += db.execute(
            update(recipients)
            .where(recipients.c.id.in_(ids[first : first + 500]))
            .where(recipients.c.state == RecipientState.IN_PROGRESS)
            .values(becomes)
        ).rowcount
    followed = (attempts.c.state == AttemptState.PLACED) & attempts.c.follow_at.is_not(None)
    going_on = select(func.count()).select_from(of_theirs)
    going_on = going_on.where(*theirs, (attempts.c.state == AttemptState.DIALING) | followed)
    return suppressed_now, int(db.execute(going_on).scalar_one())


def _theirs(ledger: Ledger, phones: Sequence[str], campaign_id: int) -> list[Any]:
    """The conditions that a recipient has one of these numbers, in that campaign or in any."""
    if ledger.is_sqlite:
        listed: Any = select(func.json_each(json.dumps(list(phones))).table_valued("value").c.value)
    else:
        listed = select(func.unnest(bindparam(None, list(phones), ARRAY(String))).column_valued())
    theirs = [recipients.c.phone.in_(listed)]
    if campaign_id != EVERY_CAMPAIGN:
        of_campaign = select(runs.c.id).where(runs.c.campaign_id == campaign_id)
        # The + 0 keeps both databases to the numbers: by run they would go through all of it.
        theirs.append((recipients.c.run_id + 0).in_(of_campaign))
    return theirs
