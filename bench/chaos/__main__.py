"""A campaign under disasters: who was rung twice, who was lost?

    python -m bench.chaos --kills 1000                        on SQLite
    python -m bench.chaos --kills 1000 --ledger postgresql
    python -m bench.chaos --kills 1000 --peer                 a plain Celery + boto3 dialer, for comparison
    python -m bench.chaos --flushes 10 --lost-share 0         Redis forgets everything, ten times

Real processes, Valkey, ledger and HTTP; only Connect is a stand-in, whose journal says whose telephone rang.
The same seed gives the same disasters; what they meet is up to the machine. Prints a row of a table, then
what must never have been, and exits with 1 if there is any of that.
"""

import argparse
import json
import signal
import sys
from collections import deque
from contextlib import ExitStack
from pathlib import Path

from bench.chaos import table
from bench.chaos.crew import Crew, Dialer
from bench.chaos.drill import Drill
from bench.chaos.ground import ground
from bench.chaos.nursery import Nursery
from bench.chaos.peer_crew import Peer
from bench.chaos.people import pieces
from bench.chaos.storm import Disaster, storm


def main() -> None:
    """Run one drill and print what it has shown."""
    options = _options()
    # Whoever ends this ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    counts = {
        Disaster.KILL: options.kills,
        Disaster.FLUSH: options.flushes,
        Disaster.RESTART: options.redis_restarts,
        Disaster.FREEZE: options.freezes,
        Disaster.CUT: options.cuts,
    }
    with ExitStack() as end:
        ground_ = end.enter_context(ground(options.ledger, options.speed, options.keep))
        if options.lost_share:
            ground_.lose_answers(options.lost_share, options.seed)
        crew: Crew = Peer(ground_) if options.peer else Dialer(ground_)
        findings = Drill(
            ground_,
            crew,
            end.enter_context(Nursery(ground_.home)),
            deque(storm(options.seed, counts)),
            pieces(ground_.home, options.seed, options.piece),
            options.seed,
            options.patience,
        ).run()
    values: dict[str, object] = {
        "dialer": "Celery + boto3" if options.peer else "this one",
        "ledger": "SQLite" if options.ledger == "sqlite" else "PostgreSQL",
        **findings.figures,
        "violations": len(findings.violations),
    }
    if options.json:
        print(json.dumps(values | {"what": findings.violations}))
    else:
        if options.header:
            print(table.header())
        print(table.row(values), flush=True)
        for violation in findings.violations:
            print(violation, file=sys.stderr)
    sys.exit(1 if findings.violations else 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--ledger", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument(
        "--kills", type=int, default=0, metavar="N", help="SIGKILLs of processes of the dialer"
    )
    parser.add_argument("--flushes", type=int, default=0, metavar="N", help="FLUSHALLs of Redis")
    parser.add_argument(
        "--redis-restarts", type=int, default=0, metavar="N", help="SIGKILLs of Redis, which comes back empty"
    )
    parser.add_argument(
        "--freezes", type=int, default=0, metavar="N", help="Redis stands still for up to 6 s"
    )
    parser.add_argument(
        "--cuts", type=int, default=0, metavar="N", help="all connections to Redis and PostgreSQL are closed"
    )
    parser.add_argument(
        "--lost-share",
        type=float,
        default=0.1,
        help="of the requests to Connect, how many get no good answer",
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--speed", type=float, default=10.0, help="call seconds per second")
    parser.add_argument("--piece", type=int, default=150, metavar="N", help="people a list")
    parser.add_argument("--patience", type=float, default=600.0, help="seconds for all to settle at the end")
    parser.add_argument("--peer", action="store_true", help="a plain Celery + boto3 dialer instead")
    parser.add_argument("--header", action="store_true", help="with the table's first lines")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a row")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="a new folder for logs, journal and ledger"
    )
    options = parser.parse_args()
    if not (options.kills or options.flushes or options.redis_restarts or options.freezes or options.cuts):
        parser.error("name at least one disaster, such as --kills 100")
    return options


if __name__ == "__main__":
    main()
