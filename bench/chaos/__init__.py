"""A chaos harness: a campaign through real processes while they are killed, and their Redis with them.

    python -m bench.chaos --help

In reading order:

    people.py     whom to call: made-up numbers whose last digits choose how a call goes
    storm.py      which disaster comes when, from a seed
    nursery.py    processes that start in a tenth of a second, because they are forks of a warm one
    stand_in.py   the stand-in for Amazon Connect, as a process that is never killed
    ground.py     what the campaign stands on: the stand-in, Valkey, the ledger's database
    crew.py       the dialer's own processes, and what they are asked
    peer.py       a plain Celery + boto3 dialer, for comparison
    peer_crew.py  its processes, and what they are asked
    watch.py      starts again whoever has ended, hands lists in, kills whom it is told to
    drill.py      strikes the crew while it works, and waits until all is settled
    checker.py    the stand-in's journal against the ledger: what must never be, and figures
    table.py      a run as a row of docs/reliability.md
"""
