"""A real boto3, a real server, and a clock that the test moves."""

import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import boto3
import pytest
from botocore.config import Config

from worker.sandbox.server import SandboxOptions, running_sandbox

INSTANCE = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
FLOW = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"


class Clock:
    """Stands still until it is moved. Starts at a whole second, so that timestamps compare exactly."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Sandbox:
    """A running sandbox, seen through boto3."""

    def __init__(self, url: str, client: Any, clock: Clock) -> None:
        self.url = url
        self.client = client
        self.clock = clock

    def start(self, number: str, token: str = "token-1", **more: Any) -> str:
        """Place a call with what every call needs; returns the contact id."""
        base = {
            "InstanceId": INSTANCE,
            "ContactFlowId": FLOW,
            "SourcePhoneNumber": "+14155550100",
            "DestinationPhoneNumber": number,
            "ClientToken": token,
        }
        wanted = {key: value for key, value in {**base, **more}.items() if value is not None}
        return str(self.client.start_outbound_voice_contact(**wanted)["ContactId"])

    def describe(self, contact_id: str) -> dict[str, Any]:
        """The contact as DescribeContact tells it."""
        found: dict[str, Any] = self.client.describe_contact(InstanceId=INSTANCE, ContactId=contact_id)
        return found["Contact"]

    def get(self, path: str) -> str:
        """GET one of the sandbox's own pages."""
        with urllib.request.urlopen(self.url + path) as response:
            return str(response.read().decode())

    def stats(self) -> dict[str, Any]:
        """The figures."""
        figures: dict[str, Any] = json.loads(self.get("/_sandbox/stats"))
        return figures

    def post(self, path: str, content: dict[str, Any]) -> None:
        """POST to one of the sandbox's own pages. Raises HTTPError."""
        request = urllib.request.Request(self.url + path, json.dumps(content).encode())
        with urllib.request.urlopen(request) as response:
            assert response.status == 200

    def set_faults(self, **rates: float) -> None:
        """POST the rates of faults."""
        self.post("/_sandbox/faults", rates)


@pytest.fixture(scope="session")
def aws() -> boto3.Session:
    """One session for all tests: it keeps the parsed model of the API."""
    return boto3.Session("none", "none", region_name="us-east-1")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def run_sandbox(aws: boto3.Session, clock: Clock) -> Iterator[Callable[..., Sandbox]]:
    """Starts sandboxes on free ports, with rates that nobody reaches unless the test sets them."""
    with ExitStack() as stack:

        def run(*, read_timeout: float = 5.0, **options: Any) -> Sandbox:
            high = {"calls_per_second": 1e6, "burst": 10**6, "describe_burst": 10**6, "search_burst": 10**6}
            url = stack.enter_context(
                running_sandbox(SandboxOptions(port=0, **{"faults": True, **high, **options}), clock)
            )
            once = Config(
                retries={"total_max_attempts": 1}, connect_timeout=3, read_timeout=read_timeout, proxies={}
            )
            client = aws.client("connect", endpoint_url=url, config=once)
            stack.callback(client.close)
            return Sandbox(url, client, clock)

        yield run


@pytest.fixture
def sandbox(run_sandbox: Callable[..., Sandbox]) -> Sandbox:
    """A sandbox that nothing slows down."""
    return run_sandbox()
