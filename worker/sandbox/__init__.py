"""A stand-in for Amazon Connect, over HTTP, for trials and tests. Real boto3 talks to it.

The files, in reading order:

    numbers.py      a test number → the script of its call (its last two digits choose)
    checks.py       a request's body → what is asked for, or the error that Connect would give
    bucket.py       the rate that one API allows
    exchange.py     the calls: who is ringing, talking or gone, and what each client token stands for
    describe.py     DescribeContact's view of a call
    search.py       SearchContacts over the calls
    faults.py       throttling, errors, dropped connections and slow answers on request
    journal.py      one JSON line per request; read again after a restart
    tally.py        the figures of /_sandbox/stats
    answers.py      what goes back to a caller, and what the faults make of it
    identity.py     how the stand-in says who it is
    options.py      what can be set
    switchboard.py  each request → its answer, decided without any network
    routes.py       the Starlette app: answers onto the wire
    server.py       listening, stopping, and running one inside a test

docs/sandbox.md is the user's side of it.
"""
