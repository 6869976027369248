"""A plain Celery + boto3 dialer, as a good user would write it in an afternoon. For comparison only.

    celery -A _plain_peer worker --loglevel INFO
    python -m _plain_peer people.csv

One task per call with a deterministic token, acknowledged late; the rows by csv.DictReader and phonenumbers.
It writes nothing down: what it knows of its calls is what Connect and the log have. bench/chaos/peer.py has
what it takes to come through disasters, which costs it a table of results.
"""

import csv
import os
import sys
from functools import lru_cache
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import boto3
import phonenumbers
from botocore.exceptions import ClientError
from celery import Celery

app = Celery("peer", broker=os.environ.get("PEER_BROKER", ""))
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
)


@app.task(name="peer.call", bind=True, max_retries=8)  # type: ignore[untyped-decorator] # Celery has no types
def call(task: Any, phone: str, token: str) -> str:
    """Call one number."""
    try:
        answer = connect().start_outbound_voice_contact(
            InstanceId="10a4c4eb-f57e-4d4c-b602-bf39176ced07",
            ContactFlowId="b0b8f2dd-ed1b-4c44-af36-ce189a178181",
            SourcePhoneNumber="+14155550199",
            DestinationPhoneNumber=phone,
            ClientToken=token,
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "TooManyRequestsException":
            raise task.retry(exc=error, countdown=1) from error
        raise
    return str(answer["ContactId"])


@lru_cache(maxsize=1)
def connect() -> Any:
    """One client for each process."""
    return boto3.client("connect")


def main() -> None:
    """Send a task for every row of a list."""
    with open(sys.argv[1], newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            number = phonenumbers.parse(row["phone"], "US")
            if phonenumbers.is_valid_number(number):
                phone = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
                call.apply_async((phone, str(uuid5(NAMESPACE_URL, f"peer/{phone}"))))


if __name__ == "__main__":
    main()
