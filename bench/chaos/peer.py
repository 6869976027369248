"""A plain Celery + boto3 dialer, as a good engineer would write it in an afternoon. For comparison only.

    celery -A bench.chaos.peer worker --pool threads
    python -m bench.chaos.peer people.csv

It does all that Celery's and boto3's documentation recommend for work that must be neither lost nor done
twice: tasks are acknowledged late and rejected when a worker is lost, one is prefetched at a time, every call
has a deterministic client token, throttles and server errors are retried with backoff and jitter, the SDK's
own retries are left at their defaults, contact ids are written down durably, and a number that has one is not
called again, whatever is delivered twice. Celery's rate limit holds each worker to its part of the quota.
Numbers are checked and rejected as ours are. The visibility timeout is a minute; the default is an hour.
"""

import csv
import os
import sqlite3
import sys
from contextlib import closing
from functools import lru_cache
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import boto3
import phonenumbers
from botocore.exceptions import ClientError, HTTPClientError
from celery import Celery

INSTANCE = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
FLOW = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
CALLER = "+14155550199"
VISIBILITY_SECONDS = 60
_MOST_RETRIES = 8
_PASSING = ("TooManyRequestsException", "ThrottlingException", "LimitExceededException")

app = Celery("peer", broker=os.environ.get("PEER_BROKER", ""))
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={
        "visibility_timeout": VISIBILITY_SECONDS,
        "socket_timeout": 10,
        "health_check_interval": 25,
    },
)


class TryAgain(Exception):
    """A throttle, or an error that may pass."""


@app.task(  # type: ignore[untyped-decorator] # Celery has no types
    name="peer.call",
    autoretry_for=(TryAgain, HTTPClientError),
    retry_backoff=True,
    retry_backoff_max=30,
    retry_jitter=True,
    max_retries=_MOST_RETRIES,
    rate_limit=os.environ.get("PEER_RATE", "1/s"),
)
def call(phone: str, token: str) -> None:
    """Call one number, unless it has been called."""
    if contact_of(token):
        return
    try:
        answer = connect().start_outbound_voice_contact(
            InstanceId=INSTANCE,
            ContactFlowId=FLOW,
            SourcePhoneNumber=CALLER,
            DestinationPhoneNumber=phone,
            ClientToken=token,
        )
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in _PASSING or error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
            raise TryAgain(code) from error
        raise
    record(token, phone, answer["ContactId"])


@lru_cache(maxsize=1)
def connect() -> Any:
    """One client for all threads."""
    return boto3.client("connect")


def results() -> sqlite3.Connection:
    """The table of the calls that were placed."""
    db = sqlite3.connect(os.environ["PEER_RESULTS"], timeout=30)
    db.execute("CREATE TABLE IF NOT EXISTS calls (token TEXT PRIMARY KEY, phone TEXT, contact_id TEXT)")
    return db


def contact_of(token: str) -> str | None:
    """The contact id of a call that was placed."""
    with closing(results()) as db:
        row = db.execute("SELECT contact_id FROM calls WHERE token = ?", (token,)).fetchone()
    return str(row[0]) if row else None


def record(token: str, phone: str, contact_id: str) -> None:
    """Write a placed call down."""
    with closing(results()) as db, db:
        db.execute("INSERT OR IGNORE INTO calls VALUES (?, ?, ?)", (token, phone, contact_id))


def main() -> None:
    """Send a task for every row of a list."""
    with open(sys.argv[1], newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            try:
                number = phonenumbers.parse(row["phone"], "US")
            except phonenumbers.NumberParseException:
                continue
            if phonenumbers.is_valid_number(number):
                phone = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
                call.apply_async((phone, str(uuid5(NAMESPACE_URL, f"chaos/{phone}"))))


if __name__ == "__main__":
    main()
