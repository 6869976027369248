"""DIALER_* settings of this side: how fast, how long, and where Redis is."""

import hashlib
import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from campaigns.settings import LedgerSettings

if TYPE_CHECKING:
    from campaigns.ledger.in_progress import CallLimit

CONNECT_TIMEOUT_SECONDS = 3.0
SHORTEST_SECRET = 16
"""Characters of DIALER_TOKEN_SECRET: a shorter one could be found by trying."""


class DialerSettings(LedgerSettings):
    """Everything that the machine's side needs to know, checked before anything starts."""

    redis_url: str | None = Field(
        default=None,
        repr=False,  # it may hold a password
        description="where Redis or Valkey is",
        examples=["redis://localhost:6379/0"],
    )
    calls_per_second: float = Field(
        default=2.0,
        gt=0,
        le=1000,
        description="the account's quota for starting calls, in calls per second",
    )
    burst: int = Field(default=5, ge=1, le=10_000, description="the quota's burst, in calls")
    max_active_calls: int = Field(
        default=10,
        ge=1,
        le=100_000,
        description="how many of an instance's concurrent calls the dialer may use",
    )
    account: str = Field(
        default="default",
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9._-]+$",
        description="names the AWS account whose quota is used; all workers of an account share one rate",
    )
    replay_window_seconds: float = Field(
        default=5.0,
        ge=0,
        le=20,
        description="how long after its first sending an unanswered request may be sent again, in seconds",
    )
    read_timeout_seconds: float = Field(
        default=10.0, gt=0, le=60, description="how long to wait for Connect's answer, in seconds"
    )
    claim_lease_seconds: float | None = Field(
        default=None,
        gt=0,
        le=86_400,
        allow_inf_nan=False,
        description="how long an attempt may stay queued or dialing before rescue looks at it, in seconds",
        examples=[30],
    )
    follow_seconds: float = Field(
        default=65.0,
        ge=0,
        le=3600,
        description="how long after placing a call its outcome is first asked for, in seconds; 0 = never",
    )
    describe_per_second: float = Field(
        default=10.0,
        gt=0,
        le=1000,
        description="the account's quota for DescribeContact, in requests per second",
    )
    events_queue_url: str | None = Field(
        default=None,
        description="the SQS queue that Connect's contact events go to, if the account sends them",
        examples=["https://sqs.us-east-1.amazonaws.com/123456789012/dialer-contact-events"],
    )
    settle_seconds: float = Field(
        default=300.0,
        gt=0,
        le=86_400,
        description="how long a call that may have rung is looked for before it counts as never placed, "
        "in seconds",
    )
    search_per_second: float = Field(
        default=0.5,
        gt=0,
        le=1000,
        description="the account's quota for SearchContacts, in requests per second",
    )
    dial_threads: int = Field(
        default=16, ge=1, le=200, description="how many calls one dial worker places at the same time"
    )
    token_secret: SecretStr | None = Field(
        default=None,
        description="the secret that keys the client tokens, so that no number can be recovered from one",
    )

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, url: str | None) -> str | None:
        # Most commands need no Redis, and start without redis-py where nothing is to be read.
        if url is not None:
            from worker.redis_address import read_redis_url

            read_redis_url(url)
        return url

    @field_validator("token_secret")
    @classmethod
    def _is_a_secret(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is None:
            return None
        # A secret that is read from a file often ends in a line break; on all machines it is the same one.
        text = secret.get_secret_value().strip()
        if len(text) < SHORTEST_SECRET:
            raise ValueError(f"it has fewer than {SHORTEST_SECRET} characters, and could be found by trying")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("it is not UTF-8") from None
        return SecretStr(text)

    @field_validator("events_queue_url")
    @classmethod
    def _is_a_queue(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "https://a/b/c")
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.count("/") < 2:
            raise ValueError("expected the URL of an SQS queue, not its ARN or its name")
        return url

    @model_validator(mode="after")
    def _events_are_not_all(self) -> Self:
        if self.events_queue_url is not None and not self.follow_seconds:
            raise ValueError(
                "DIALER_FOLLOW_SECONDS: contact events get lost now and then, so that outcomes must be asked "
                "for as well; leave it at 65, or unset DIALER_EVENTS_QUEUE_URL"
            )
        return self

    @model_validator(mode="after")
    def _lease_outlasts_a_call(self) -> Self:
        if self.claim_lease_seconds is not None and self.claim_lease_seconds < self._shortest_lease:
            raise ValueError(
                "DIALER_CLAIM_LEASE_SECONDS: rescue would take attempts away from workers that are still "
                f"waiting for an answer; with DIALER_READ_TIMEOUT_SECONDS={self.read_timeout_seconds:g} and "
                f"DIALER_REPLAY_WINDOW_SECONDS={self.replay_window_seconds:g} it must be at least "
                f"{self._shortest_lease:g}"
            )
        return self

    @property
    def _shortest_lease(self) -> float:
        return CONNECT_TIMEOUT_SECONDS + self.read_timeout_seconds + self.replay_window_seconds + 5

    @property
    def call_limit(self) -> "CallLimit":
        """How many calls may be in progress, and how long those count of which nobody tells."""
        # The embedded Redis and the sandbox read these settings too, and start without what the ledger needs.
        from campaigns.ledger.in_progress import CallLimit

        return CallLimit(self.max_active_calls, timedelta(seconds=self.settle_seconds))

    @property
    def lease(self) -> timedelta:
        """How long an attempt may stay queued or dialing; by default 30 s, or what a slow answer needs."""
        return timedelta(seconds=self.claim_lease_seconds or max(30.0, self._shortest_lease))

    @property
    def send_within_seconds(self) -> float:
        """How long after `dialing` was written a request may leave: its answer must come within the lease."""
        return self.lease.total_seconds() - CONNECT_TIMEOUT_SECONDS - self.read_timeout_seconds - 2

    @property
    def listens(self) -> bool:
        """Whether this side takes contact events off their queue.

        A trial takes no real call's events, unless a stand-in for SQS has the queue.
        """
        return self.events_queue_url is not None and (
            self.exchange == "connect" or bool(os.environ.get("AWS_ENDPOINT_URL_SQS"))
        )

    @property
    def runtime_dir(self) -> Path:
        """Where the embedded Redis has its socket: the same for all who share the data directory."""
        # A Unix socket's path has room for about 100 characters, which a working directory may exceed.
        name = hashlib.sha256(str(self.data_dir.resolve()).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"dialer-{os.getuid()}-{name}"

    @property
    def redis(self) -> str:
        """Where Redis is; by default the embedded one's socket."""
        return self.redis_url or f"unix://{self.runtime_dir / 'valkey.sock'}"

    @property
    def dial_queue(self) -> str:
        """The Celery queue of the attempts. Trials have one of their own."""
        return "dial" if self.exchange == "connect" else "dial-sandbox"

    @property
    def control_queue(self) -> str:
        """The Celery queue of everything else, so that feeding never waits behind dialing."""
        return "control" if self.exchange == "connect" else "control-sandbox"
