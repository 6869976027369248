"""Does a campaign of ten million cost more than one of ten thousand, call by call and look by look?

    python bench/flat.py [--recipients 10000 200000] [--database sqlite|postgresql] [--ledgers fresh half …]
        [--recently 5000]

Writes ledgers with a run of so many recipients between two small ones, straight into their tables: `fresh`,
nobody has been called; `half` way; and `done`. Every third was called twice, one in a hundred was refused,
one in ten thousand is unknown. They are in eight places and nowhere. Of the last --recently who were called
in the one that is half way, those who were busy, a fifth, wait for their redials. How many these are goes by
the rate and the rule, and not by the list; so it is the same for all sizes.

Then it feeds and dials a little, reads what people read, and sweeps, with the program's own functions, in
all of them by turns. The table has the median of several times in milliseconds, and the ratio of the largest
run's to the smallest's. Ten million take 7 GB under the temporary folder, which are given back.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from _ground import postgresql
from _office import markdown
from load import folder
from sqlalchemy import text

from campaigns.attempt import Outcome
from campaigns.campaign import Campaign
from campaigns.explain import explain
from campaigns.ledger import Ledger, open_ledger, runs
from campaigns.ledger.claims import claim, take_back_expired
from campaigns.ledger.expiry import expire
from campaigns.ledger.figures import first_and_last, lines, page
from campaigns.ledger.in_progress import CallLimit
from campaigns.ledger.lists import put_list
from campaigns.ledger.moves import NotNow, mark_dialing, mark_placed
from campaigns.ledger.outcomes import mark_ended
from campaigns.ledger.tables import microseconds
from campaigns.ledger.tallies import fold
from campaigns.report import every_status, status

NOW = datetime(2026, 3, 2, 18, 0, tzinfo=UTC)  # a Monday: day in America, night in Tokyo
CAMPAIGN = {
    "connect": {
        "instance_id": "10a4c4eb-f57e-4d4c-b602-bf39176ced07",
        "contact_flow_id": "b0b8f2dd-ed1b-4c44-af36-ce189a178181",
        "source_phone_number": "+14155550199",
    },
    "calling_hours": {"weekdays": "09:00-20:00", "time_zone": "recipient"},
    "redial": {"max_attempts": 3, "busy": "2h"},
}
ROUNDS, CALLS = 12, 20
LEASE = timedelta(hours=1)

# In pieces, because SQLite writes down what it inserts first where a trigger looks at it.
_PIECE = 1_000_000
_SERIES = """
    WITH RECURSIVE series(n) AS (
        SELECT CAST(:first AS BIGINT) UNION ALL SELECT n + 1 FROM series WHERE n < :last
    )
"""
_RECIPIENTS = f"""
    INSERT INTO recipients
        (run_id, load_id, line, key, phone, zones, attributes, "row", state, due_at, attempts)
    {_SERIES}
    SELECT :run_id, :load_id, n + 1, 'appointment-' || n, '+49151' || (10000000 + n),
        CASE n % 9
            WHEN 0 THEN 'America/New_York' WHEN 1 THEN 'America/Chicago' WHEN 2 THEN 'America/Denver'
            WHEN 3 THEN 'America/Los_Angeles' WHEN 4 THEN 'America/Chicago America/New_York'
            WHEN 5 THEN 'America/Phoenix' WHEN 6 THEN 'Europe/Lisbon' WHEN 7 THEN 'Asia/Tokyo'
        END,
        '{{}}', '{{"first_name": "Name", "city": "Bristol", "when": "Tuesday at nine"}}',
        CASE WHEN n > :called OR (n > :called - :recently AND n % 5 = 0) THEN 'waiting' ELSE 'done' END,
        CASE WHEN n <= :called AND n > :called - :recently AND n % 5 = 0
            THEN :now + CAST(7200 - (:called - n) / 20 AS BIGINT) * 1000000 ELSE 0 END,
        CASE WHEN n > :called THEN 0 WHEN n % 3 = 0 THEN 2 ELSE 1 END
    FROM series
"""
_ATTEMPTS = f"""
    INSERT INTO attempts
        (run_id, recipient_id, number, client_token, state, fence, lease_until, queued_at, dialing_at,
         placed_at, ended_at, contact_id, outcome, reason, follows, unknown_at)
    {_SERIES}
    SELECT :run_id, :before + n, :number, :run_id || '-token-' || n || '-' || :number,
        CASE WHEN n % 10000 = 9 THEN 'unknown' WHEN n % 100 = 7 THEN 'refused' ELSE 'ended' END,
        1, :now, dialed, dialed, dialed, dialed,
        CASE WHEN n % 100 <> 7 AND n % 10000 <> 9 THEN :run_id || '-contact-' || n || '-' || :number END,
        CASE WHEN n % 100 = 7 OR n % 10000 = 9 THEN NULL WHEN n % 5 = 0 THEN 'busy'
            WHEN n % 5 = 1 THEN 'voicemail' ELSE 'answered' END,
        CASE WHEN n % 100 = 7 THEN 'DestinationNotAllowedException: not there' END,
        1, CASE WHEN n % 10000 = 9 THEN dialed END
    FROM (SELECT n, :now - CAST((:called - n) / 20 AS BIGINT) * 1000000 AS dialed FROM series) AS called
    WHERE :number = 1 OR n % 3 = 0
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--recipients", type=int, nargs="+", default=[10_000, 200_000])
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--ledgers", choices=["fresh", "half", "done"], nargs="+")
    parser.add_argument("--recently", type=int, default=5_000)
    options = parser.parse_args()
    sizes = sorted(options.recipients)
    print(markdown("ledger", "ms for", *(f"{size:,}" for size in sizes), "ratio"))
    print(markdown("---", "---", *["---:"] * (len(sizes) + 1)))
    for shape in options.ledgers or ("fresh", "half", "done"):
        with ExitStack() as end:
            ledgers = [end.enter_context(opened(options.database)) for _ in sizes]
            for ledger, size in zip(ledgers, sizes, strict=True):
                fill(ledger, size, shape, options.recently)
            took: list[dict[str, list[float]]] = [{} for _ in sizes]
            # By turns, so that what else the machine does slows down all of them.
            for n in range(ROUNDS):
                for ledger, size, times in zip(ledgers, sizes, took, strict=True):
                    for what, each in once(ledger, size, shape, n).items():
                        times.setdefault(what, []).append(statistics.median(each))
        for what in took[0]:
            # The first round was to get warm.
            medians = [statistics.median(times[what][1:]) * 1000 for times in took]
            ratio = f"{medians[-1] / medians[0]:.2f}"
            print(markdown(shape, what, *(f"{each:.2f}" for each in medians), ratio), flush=True)


@contextmanager
def opened(database: str) -> Iterator[Ledger]:
    """An empty ledger in a folder of its own, which is gone when the program ends."""
    home = folder()
    if database == "sqlite":
        with closing(open_ledger(f"sqlite:///{home / 'ledger.sqlite'}")) as ledger:
            yield ledger
    else:
        with postgresql(home) as url, closing(open_ledger(url)) as ledger:
            yield ledger


def fill(ledger: Ledger, count: int, shape: str, recently: int) -> None:
    """Three campaigns that run; the one in the middle is `bench`."""
    for name, size in (("before", 100), ("bench", count), ("later", 100)):
        campaign = Campaign.model_validate({"name": name} | CAMPAIGN)
        put_list(ledger, campaign, [], file_name="people.csv", columns=(), now=NOW)
        with ledger.write() as db:
            run = runs.find(db, name)
            runs.start(db, run, NOW, exchange="connect")
            its_list = text("SELECT id FROM loads WHERE run_id = :run_id")
            load_id = db.execute(its_list, {"run_id": run.id}).scalar_one()
        called = {"fresh": 0, "half": size // 2, "done": size}[shape]
        everybody = {
            "run_id": run.id,
            "load_id": load_id,
            "now": microseconds(NOW),
            "called": called,
            "recently": recently if shape == "half" else 0,
        }
        with ledger.connection() as db:
            db.detach()
            if ledger.is_sqlite:
                dbapi: Any = db.connection.dbapi_connection
                dbapi.executescript("PRAGMA cache_size = -500000; PRAGMA synchronous = OFF")
            with db.begin():
                before = db.execute(text("SELECT max(id) FROM recipients")).scalar() or 0
            for first in range(1, size + 1, _PIECE):
                piece = {"first": first, "last": min(first + _PIECE - 1, size)}
                with db.begin():
                    db.execute(_typed(_RECIPIENTS), everybody | piece)
            for number in (1, 2):
                for first in range(1, called + 1, _PIECE):
                    piece = {"first": first, "last": min(first + _PIECE - 1, called), "number": number}
                    with db.begin():
                        db.execute(_typed(_ATTEMPTS), everybody | piece | {"before": before})
    if not ledger.is_sqlite:
        # As the server does by itself within a minute or two.
        with ledger._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
            db.execute(text("VACUUM ANALYZE"))


def _typed(statement: str) -> Any:
    """PostgreSQL wants to know what the parameters are."""
    for name in ("run_id", "load_id", "now", "called", "recently", "before", "number", "last"):
        statement = statement.replace(f":{name}", f"CAST(:{name} AS BIGINT)")
    return text(statement)


def once(ledger: Ledger, count: int, shape: str, n: int) -> dict[str, list[float]]:
    """A round of feeding, the life of its calls, and a look at everything: the seconds of each step."""
    took: dict[str, list[float]] = {}
    at = NOW + timedelta(seconds=n)
    with clocked(took, "feed"):
        claims = claim(
            ledger,
            keep_queued=CALLS,
            exchange="connect",
            now=at,
            lease=LEASE,
            ahead=timedelta(seconds=3),
            limit=CallLimit(10_000, timedelta(minutes=10)),
        )
    if shape != "done" and len(claims) != CALLS:
        raise SystemExit(f"{len(claims)} were fed")
    for each in claims:
        this = (ledger, each.attempt_id, each.fence)
        with clocked(took, "mark dialing"):
            dialing = mark_dialing(*this, exchange="connect", now=at, lease=LEASE)
        with clocked(took, "mark placed"):
            placed = mark_placed(*this, f"new-{each.attempt_id}", now=at, follow_at=at)
        with clocked(took, "end"):
            ended = mark_ended(*this[:2], Outcome.ANSWERED, ended_at=at, redial=lambda _: None)
        if isinstance(dialing, NotNow) or not placed or not ended:
            raise SystemExit("somebody was not dialed")
    with ledger.read() as db:
        run_id = runs.find(db, "bench").id
        first, last = first_and_last(db, run_id) or (0, 0)
    with clocked(took, "status"):
        status(ledger, "bench", at)
    with clocked(took, "status of all"):
        every_status(ledger, at)
    with clocked(took, "explain"):
        explain(ledger, "bench", f"+49151{10_000_000 + count // 3}", at)
    with clocked(took, "results, first page"):
        next(lines(ledger, run_id))
    with clocked(took, "a page in the middle"):
        page(ledger, run_id, first + count // 2, last)
    with clocked(took, "the last page"):
        page(ledger, run_id, last - 999, last)
    with clocked(took, "sweep"):
        sweep(ledger)
    return took


def sweep(ledger: Ledger) -> None:
    """What happens every five seconds."""
    take_back_expired(ledger, NOW, longest_lease=LEASE, settle_at=NOW)
    expire(ledger, NOW)
    runs.finish(ledger, NOW)
    fold(ledger)


@contextmanager
def clocked(took: dict[str, list[float]], what: str) -> Iterator[None]:
    """Note the seconds that a block takes."""
    began = time.perf_counter()
    yield
    took.setdefault(what, []).append(time.perf_counter() - began)


if __name__ == "__main__":
    main()
