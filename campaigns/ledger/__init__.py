"""The ledger: the truth about every recipient and every attempt, and the only SQL of the program.

    engine.py    opening it: SQLite or PostgreSQL, migrated before it is handed out
    ledger_file.py  whether this user may use the file that it is in
    sqlite.py    what is special about a ledger in a file
    postgresql.py  how a transaction begins in PostgreSQL, directly or through a connection pooler
    together.py  moves of several threads in one transaction
    tables.py    what it holds
    identity.py  which ledger this is, and whether dialing from it is stopped as a whole
    reached.py   what a process remembers of how far its ledger has come
    positions.py how far the ledger has come, and whether it has gone back
    lost_calls.py  calls that a ledger which has gone back does not know, entered again
    stored_choices.py  campaigns' choices as they are kept, and what one that cannot be read leaves to others
    runs.py      the runs of campaigns: begun, started, paused, cancelled, finished
    rehearsal.py  a clock that begins at a chosen time, in a ledger that only trials use
    binding.py   which side dials a campaign, decided once
    trials.py    a trial is set apart from the real calls of its campaign, and thrown away
    choices.py   what a campaign's file says, and what a change of it may not do
    suppressions.py  numbers that are never called
    suppression_book.py  what the list of them says, and has said
    schedules.py  which campaigns begin runs by themselves, and the fires that did not become one
    appointments.py  a list of appointments meets those that are there: the same, moved, new ones
    new_rows.py  a recipient who was never called takes the row of the latest list
    one_telephone.py  two numbers of one telephone are one recipient where the number is the key
    corrections.py  a list says something else of recipients who are there
    drops.py     recipients are taken out, by an operator or by a list without them, and put back
    drop_keys.py  the same for single recipients, by their keys
    preparation.py  what is prepared in temporary tables before the ledger is locked
    staging.py   a list waits in a temporary table until all of it is read
    lists.py     a list goes in, whole or not at all
    limits.py    which calls to a number count against its limits
    due.py       who may be dialed now: due, in open calling hours, within the limits
    claims.py    due recipients are claimed for the queue, and what a crash left there is taken back
    brakes.py    calls in a row that ended in doubt, and what is let through meanwhile
    standing.py  where an attempt stands, held still for a move
    in_progress.py  how many calls an instance has in progress
    moves.py     the life of an attempt until its call is placed, each move naming the state that it expects
    outcomes.py  placed calls are taken for a look, and end with an outcome
    sendings.py  which attempts can have made a call that the ledger does not know
    unknowns.py  what may have rung is taken for a search, and settled by what it shows
    contacts.py  which of Connect's contacts are known here
    hang_ups.py  calls in progress that are to be hung up
    readmissions.py  numbers are taken off the list, and their people wait again
    requeues.py  another attempt because an operator asks for it
    rules.py     whoever waits for a redial is judged again by new rules
    expiry.py    whose time to be called has passed
    tallies.py   how many are in which state, as the database itself counts
    figures.py   what status and export read
    waiting.py   who waits, counted by where they are and what they wait for
    preflight.py  what a plan asks before a list goes in
    stories.py   what the ledger knows of single recipients
    health.py    which processes are alive, and what keeps them from their work
    writable.py  whether the ledger can be written to, as far as a reader can tell
    migrations/  the schema's history

No transaction here stays open across a call to Connect or a wait for anything else.
"""

from campaigns.ledger.engine import Ledger, LedgerUnavailable, open_ledger

__all__ = ["Ledger", "LedgerUnavailable", "open_ledger"]
