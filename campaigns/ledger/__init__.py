"""The ledger: the truth about every recipient and every attempt, and the only SQL of the program.

    engine.py    opening it: SQLite or PostgreSQL, migrated before it is handed out
    sqlite.py    what is special about a ledger in a file
    tables.py    what it holds
    runs.py      campaigns and their runs: put in, started, paused, cancelled, finished
    suppressions.py  numbers that are never called
    lists.py     a list goes in, whole or not at all
    claims.py    due recipients are claimed for the queue, and what a crash left there is taken back
    standing.py  where an attempt stands, held still for a move
    in_progress.py  how many calls an instance has in progress
    moves.py     the life of an attempt until its call is placed, each move naming the state that it expects
    outcomes.py  placed calls are taken for a look, and end with an outcome
    unknowns.py  what may have rung is taken for a search, and settled by what it shows
    contacts.py  which of Connect's contacts are known here
    hang_ups.py  calls in progress that are to be hung up
    requeues.py  another attempt because an operator asks for it
    rules.py     whoever waits for a redial is judged again by new rules
    figures.py   what status and export read
    stories.py   what the ledger knows of single recipients
    health.py    which processes are alive, and what keeps them from their work
    migrations/  the schema's history

No transaction here stays open across a call to Connect or a wait for anything else.
"""

from campaigns.ledger.engine import Ledger, LedgerUnavailable, open_ledger

__all__ = ["Ledger", "LedgerUnavailable", "open_ledger"]
