"""How to do it and how fast: the queue, the pace, Amazon Connect, and the processes of one machine.

connect.py            boto3 in; our types and our errors out
call_order.py         one attempt's call → the parameters of its request
wire.py               connections that ask before they write, and bound the answer in time and size
reply.py              what an answer says, as far as it can be used
credentials.py        AWS credentials, read anew when they are not taken
connect_errors.py     what an error means for the call
aws_clock.py          how far AWS's clock is from this machine's
endpoint.py           is this address AWS's own, the stand-in's, or another?
pacer.py, pacer.lua   one rate for all workers
redis_address.py      DIALER_REDIS_URL, read once for the queue and the pacer
redis_trouble.py      what an error of Redis means, and whether waiting can help
redis_start.py        Redis as a process finds it at its start
broker.py             kombu's transport: the same connection, and patience while Redis is away
messages.py           what lies in a queue, checked; what is not ours is dropped
seldom.py             the same line of a log once a minute
positions.py, positions.lua  how far the ledger has come, noted in Redis before each request leaves
feed.py               due recipients → claimed attempts → Celery tasks
placing.py            one request, and once more only where that cannot ring twice
braking.py            what each answer says of Connect itself, and whether a probe is risked
dial.py               one attempt, from its slot to its contact_id
hands.py              a few threads for what may take long, one for each campaign
fire.py               a schedule's time has come: its list becomes a run
answers.py            what Connect has answered to this process about calls, by instance
follow.py             contact_id → outcome → redial or done
hang_up.py            a cancelled campaign's calls in progress, if somebody asked for that
event_queue.py        contact events out of SQS; but for connect.py the only one that calls boto3
events.py             contact events → outcomes, beside the looks of follow.py
rescue.py             attempts that a crash left behind
settle.py             what may have rung is searched for, and settled by what is found
unshared_pacer.py     a pace that one process keeps alone, where no Redis runs
reconcile.py          the calls that a ledger has lost, entered again from what Connect lists
tasks.py              thin Celery wrappers around the verbs
work.py               what this process did lately
consumer.py           does the worker still ask for tasks?
probe.py              does Redis take what the dialer writes?
health.py             every process reports that it lives
beat.py               the scheduler
machine.py            one process's parts, put together
worker_options.py     what a worker may be started with
app.py                the Celery app and its schedule
sandbox/              a stand-in for Amazon Connect, over HTTP, for trials and tests
children.py           child processes: started, watched, stopped in order
embedded_redis.py     the Valkey of one data directory, as a process
sandbox_process.py    the sandbox of one data directory, as a process
extras.py             what is installed only with an extra of the package
local.py              everything on one machine
settings.py           DIALER_* settings of this side
plan_cli.py           `dialer plan`
rehearsal_speed.py    how fast the clock of a rehearsal runs for this process
rehearsing.py         the clock of a rehearsal, kept running and followed
closed_terminal.py    the terminal was closed: stop cleanly, and write to it no longer
until_stopped.py      what `dialer run` and `dialer up` have in common
run_cli.py            `dialer run`
demo_cli.py           `dialer demo`
up_cli.py             `dialer up`
sandbox_cli.py        `dialer sandbox`
health_cli.py         `dialer health`
reconcile_cli.py      `dialer reconcile`
cli.py                the `dialer` command: all of these, and how each of them ends
"""
