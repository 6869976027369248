"""Which side a command is for, and an address that is not for this side: said in one line, nothing begun."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from campaigns.ledger import open_ledger
from campaigns.ledger.tables import campaigns
from worker.sandbox.server import SandboxOptions, running_sandbox
from worker.settings import DialerSettings
from worker.until_stopped import check_endpoint

Dialer = Callable[..., Any]
CAMPAIGN = """
name = "clinic"
[connect]
instance_id = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
contact_flow_id = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
source_phone_number = "+14155550199"
"""
RUN = ("run", "clinic.toml", "people.csv")


@pytest.fixture
def dialer(dialer: Dialer, aws: None) -> Dialer:
    """The command, beside a campaign's file and a list, with AWS settings that are nobody's."""
    Path("clinic.toml").write_text(CAMPAIGN)
    Path("people.csv").write_text("phone\n+14155550101\n")
    return dialer


@pytest.fixture
def stand_in(dialer: Dialer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The stand-in, at the address that is set for Amazon Connect."""
    with running_sandbox(SandboxOptions(port=0)) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_CONNECT", url)
        yield url


@pytest.fixture
def stranger(dialer: Dialer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """What does not say that it is the stand-in, at the address that is set for Amazon Connect."""
    with running_sandbox(SandboxOptions(port=0, incognito=True)) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_CONNECT", url)
        yield url


def refusal(said: Any) -> str:
    """One line and exit code 2, before anything is loaded or started."""
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1), said
    assert not Path(".dialer/logs").exists()
    if Path(".dialer/ledger.sqlite").exists():
        with closing(open_ledger("sqlite:///.dialer/ledger.sqlite")) as ledger, ledger.read() as db:
            assert db.execute(select(campaigns.c.name)).all() == []
    return str(said.err)


@pytest.mark.parametrize("command", [RUN, ("up",)])
def test_real_calls_to_a_left_over_address_of_the_sandbox_are_refused(
    dialer: Dialer, stand_in: str, command: tuple[str, ...]
) -> None:
    """What is set is named, and how to ask for a trial."""
    said = refusal(dialer(*command))
    assert f"AWS_ENDPOINT_URL_CONNECT is {stand_in}, where the sandbox answers" in said
    assert "unset it, for a trial say --sandbox or set DIALER_EXCHANGE=sandbox" in said


@pytest.mark.parametrize("command", [RUN, ("up",)])
def test_a_trial_is_refused_anywhere_but_in_the_sandbox(
    dialer: Dialer, stranger: str, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At an address that does not say that it is the sandbox, at AWS's own, and where nothing answers."""
    monkeypatch.setenv("DIALER_EXCHANGE", "sandbox")
    assert f"{stranger} is not the sandbox" in refusal(dialer(*command))
    monkeypatch.setenv("AWS_ENDPOINT_URL_CONNECT", "http://127.0.0.1:9")
    assert "http://127.0.0.1:9 does not answer" in refusal(dialer(*command))
    monkeypatch.delenv("AWS_ENDPOINT_URL_CONNECT")
    assert "https://connect.us-east-1.amazonaws.com is not the sandbox" in refusal(dialer(*command))


def test_what_is_no_sandbox_counts_as_amazon_connect_and_is_named(dialer: Dialer, stranger: str) -> None:
    """AWS's own address need not be."""
    assert check_endpoint(DialerSettings(), None) == stranger


def test_aws_own_address_is_not_named(dialer: Dialer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_CONNECT")
    assert check_endpoint(DialerSettings(), None) is None


def test_a_trial_elsewhere_may_go_to_the_sandbox_there(
    dialer: Dialer, stand_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DIALER_EXCHANGE=sandbox without --sandbox: one sandbox for several machines."""
    assert check_endpoint(DialerSettings(exchange="sandbox"), None) == stand_in


def test_a_missing_region_is_said_before_anything_is_loaded(
    dialer: Dialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one there is no address to look at."""
    monkeypatch.delenv("AWS_REGION")
    assert "set AWS_REGION" in refusal(dialer(*RUN))


@pytest.mark.parametrize(("variable", "flag"), [("connect", ["--sandbox"]), ("sandbox", [])])
def test_start_decides_by_the_flag_or_by_the_setting(
    dialer: Dialer, variable: str, flag: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From then on every view says that it is a trial, and neither start nor run makes real calls of it."""
    assert dialer("load", "clinic.toml", "people.csv").code == 0
    assert dialer("status", "clinic", "--json").json["exchange"] is None
    monkeypatch.setenv("DIALER_EXCHANGE", variable)
    assert dialer("start", "clinic", *flag).out.startswith("clinic is started in the sandbox; ")
    monkeypatch.delenv("DIALER_EXCHANGE")
    assert dialer("status", "clinic", "--json").json["exchange"] == "sandbox"
    assert dialer("status", "clinic").out.startswith("clinic: running (in the sandbox)\n")
    assert dialer("status").out.splitlines()[1].split()[:3] == ["clinic", "running", "trial"]
    assert dialer("explain", "clinic", "+14155550101").out.startswith(
        "+14155550101: waiting (in the sandbox)"
    )
    for command in (("start", "clinic"), RUN):
        monkeypatch.delenv("AWS_ENDPOINT_URL_CONNECT", raising=False)
        said = dialer(*command)
        assert (said.code, said.err.count("\n")) == (2, 1)
        assert "clinic was begun in the sandbox and can only go on there: run it with --sandbox" in said.err
    assert dialer("pause", "clinic").code == dialer("resume", "clinic").code == 0
    assert dialer("status", "clinic", "--json").json["exchange"] == "sandbox"


def test_a_real_campaign_is_not_started_as_a_trial(dialer: Dialer) -> None:
    """The other way round, with the same advice."""
    dialer("load", "clinic.toml", "people.csv")
    assert dialer("start", "clinic").out.startswith("clinic is started; ")
    for command in (("start", "clinic", "--sandbox"), (*RUN, "--sandbox")):
        said = dialer(*command)
        assert said.code == 2
        assert "run it without --sandbox or DIALER_EXCHANGE=sandbox, or give the campaign file" in said.err
    with closing(open_ledger("sqlite:///.dialer/ledger.sqlite", create=False)):
        assert dialer("status", "clinic", "--json").json["exchange"] == "connect"


def test_a_trials_worker_that_finds_no_sandbox_may_be_started_again(
    settings_environment: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """It dials nothing; but unlike a wrong address, a sandbox that is only just starting mends itself."""
    settings_environment.setenv("AWS_ENDPOINT_URL_CONNECT", "http://127.0.0.1:9")
    program = request.getfixturevalue("program")
    with pytest.raises(SystemExit) as left:
        program.root._open()
    assert left.value.code == 1


def test_a_worker_process_looks_at_its_address_when_it_starts(
    settings_environment: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """However it was started: exit code 2, and one line."""
    settings_environment.setenv("DIALER_EXCHANGE", "connect")
    program = request.getfixturevalue("program")
    with pytest.raises(SystemExit) as left:
        program.root._open()
    assert left.value.code == 2
    assert "where the sandbox answers and no telephone rings" in capsys.readouterr().err
