"""The journal, and a sandbox that is started again."""

import errno
import json
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from campaigns.mistake import Mistake
from worker.sandbox.identity import HEADER
from worker.sandbox.options import SandboxOptions
from worker.sandbox.switchboard import Switchboard

INSTANCE = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "made" / "calls.jsonl"


def _lines(journal: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal.read_text().splitlines()]


def test_one_line_for_every_request(run_sandbox: Callable[..., Any], journal: Path) -> None:
    """Each request leaves a line that says what came of it, whatever the caller was told."""
    sandbox = run_sandbox(journal=journal)
    contact_id = sandbox.start("+14155550100", "a", Attributes={"When": "10:00"})
    sandbox.start("+14155550100", "a")
    with pytest.raises(ClientError):
        sandbox.start("+14155550190", "b")
    with pytest.raises(ConnectionClosedError):
        sandbox.start("+14155550198", "c")
    with pytest.raises(ClientError):
        sandbox.start("abc", "d")
    seen = [
        tuple(line[name] for name in ("client_token", "destination", "status", "error", "rang", "replayed"))
        for line in _lines(journal)
    ]
    assert seen == [
        ("a", "+14155550100", 200, None, True, False),
        ("a", "+14155550100", 200, None, False, True),
        ("b", "+14155550190", 403, "DestinationNotAllowedException", False, False),
        ("c", "+14155550198", None, "ConnectionDropped", True, False),
        ("d", "abc", 400, "InvalidParameterException", False, False),
    ]
    first = _lines(journal)[0]
    assert (contact_id, sandbox.clock.now) == (first["contact_id"], first["epoch"])
    assert first["time"] == "2027-01-15T08:00:00.000000+00:00"
    assert [contact_id, contact_id, None] == [line["contact_id"] for line in _lines(journal)[:3]]


def test_calls_survive_a_restart(run_sandbox: Callable[..., Any], journal: Path) -> None:
    """A sandbox on the same journal knows the contacts, their ends, the tokens and the figures."""
    before = run_sandbox(journal=journal, max_active_calls=2)
    living = before.start("+14155550188", "living", Attributes={"When": "10:00"}, Name="n")
    stopped = before.start("+14155550188", "stopped")
    before.start("+14155550100", "over the quota")
    before.client.stop_contact(InstanceId=INSTANCE, ContactId=stopped)
    with pytest.raises(ClientError):
        before.start("+14155550194", "spent fault")
    described = [before.describe(contact_id) for contact_id in (living, stopped)]

    after = run_sandbox(journal=journal, max_active_calls=2)
    assert described == [after.describe(contact_id) for contact_id in (living, stopped)]
    assert living == after.start("+14155550188", "living")
    after.start("+14155550194", "spent fault")
    stats = after.stats()
    assert tuple(
        stats[name]
        for name in ("requests", "placed", "rang", "replayed", "over_quota", "active_now", "max_active_seen")
    ) == (6, 4, 3, 1, 1, 2, 2)
    after.clock.now += 700
    assert stopped != after.start("+14155550175", "stopped")
    assert after.stats()["second_rings"] == 1


def test_a_half_written_last_line_is_forgotten(
    run_sandbox: Callable[..., Any], journal: Path, clock: Any
) -> None:
    """A sandbox that was killed while writing goes on, and its journal is whole again."""
    first = run_sandbox(journal=journal)
    contact_id = first.start("+14155550100", "a")
    with journal.open("a") as file:
        file.write('{"time":"2027-01-15T08:0')
    second = run_sandbox(journal=journal)
    assert contact_id == second.start("+14155550100", "a")
    assert [line["rang"] for line in _lines(journal)] == [True, False]


@pytest.mark.parametrize("bad", ["hello\n", "{}\n", "[]\n"])
def test_another_file_is_not_taken_for_a_journal(journal: Path, clock: Any, bad: str) -> None:
    """A line that is not the sandbox's stops the start, by its number."""
    journal.parent.mkdir()
    journal.write_text(bad)
    with pytest.raises(Mistake, match="line 1 is not"):
        Switchboard(SandboxOptions(journal=journal), clock)


def test_missing_lines_are_noticed(run_sandbox: Callable[..., Any], journal: Path, clock: Any) -> None:
    """A journal with a call cut out would give contacts the wrong ids; it is refused."""
    sandbox = run_sandbox(journal=journal)
    for n in range(3):
        sandbox.start("+14155550100", f"t{n}")
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text(lines[0] + lines[2])
    with pytest.raises(Mistake, match="lines are missing"):
        Switchboard(SandboxOptions(journal=journal), clock)


def test_a_journal_that_cannot_be_written_stops_the_start(tmp_path: Path, clock: Any) -> None:
    """The message names the path."""
    with pytest.raises(Mistake, match=r"cannot keep its journal there"):
        Switchboard(SandboxOptions(journal=tmp_path), clock)


def test_the_list_of_calls(run_sandbox: Callable[..., Any]) -> None:
    """/_sandbox/calls has one line per call, with its outcome once it is over."""
    sandbox = run_sandbox(max_active_calls=1)
    sandbox.start("+14155550188", "long")
    sandbox.start("+14155550100", "one too many")
    lines = [json.loads(line) for line in sandbox.get("/_sandbox/calls").splitlines()]
    seen = [
        tuple(line[name] for name in ("destination", "client_token", "outcome", "rang")) for line in lines
    ]
    assert seen == [
        ("+14155550188", "long", None, True),
        ("+14155550100", "one too many", "over_quota", False),
    ]
    sandbox.clock.now += 700
    assert json.loads(sandbox.get("/_sandbox/calls").splitlines()[0])["outcome"] == "answered"


def test_a_full_disk_is_answered_as_the_stand_in(
    run_sandbox: Callable[..., Any], journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial would take an answer without the header for a stranger's. Afterwards no line is missing.

    Fails without: the handler of OSError (routes.py), and the line that waits (journal.py).
    """

    class Full(FileIO):
        room = 10_000

        def write(self, data: Any) -> int:
            if not Full.room:
                raise OSError(errno.ENOSPC, "No space left on device")
            written = super().write(data[: Full.room])
            Full.room -= written
            return written

    monkeypatch.setattr("worker.sandbox.journal.FileIO", Full)
    sandbox = run_sandbox(journal=journal)
    sandbox.start("+14155550100", "a")
    Full.room = 20
    for _ in range(3):
        with pytest.raises(ClientError) as refused:
            sandbox.start("+14155550101", "b")
        answer = refused.value.response
        assert answer["ResponseMetadata"]["HTTPHeaders"][HEADER] == "1"
        assert answer["Error"]["Code"] == "InternalServiceException"
    Full.room = 10_000
    sandbox.start("+14155550102", "c")
    lines = [(line["client_token"], line["rang"]) for line in _lines(journal)]
    assert lines == [("a", True), ("b", True), ("c", True)]
