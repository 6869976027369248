"""`dialer reconcile`, against the sandbox over HTTP."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from campaigns.ledger import runs
from campaigns.ledger.runs import OPERATOR_ALL, PAUSED_WITH_ALL
from tests.gone_back import saved, set_back

Command = Callable[..., Any]


@pytest.fixture
def command(dialer: Command, settings_environment: pytest.MonkeyPatch, book: Any) -> Command:
    """The command on the book's ledger, with the sandbox as Amazon Connect, and no Redis."""
    settings_environment.setenv("DIALER_REDIS_URL", "unix:///none/such.sock")
    settings_environment.setenv("DIALER_SEARCH_PER_SECOND", "100")
    # The wall clock of the command is nearer to now than the tests' clock, which is ahead of it.
    settings_environment.setattr("campaigns.ledger.engine.wall_clock", book.clock.utc)
    return dialer


@pytest.fixture
def lost(book: Any, make_dialer: Callable[..., Any]) -> tuple[str, str]:
    """Two recipients were called, and the ledger has forgotten it. Its campaign, and from when on."""
    since = book.clock.utc().isoformat()
    name = book.load("+14155550100", "+14155550101")
    then = saved(book.ledger)
    dialer = make_dialer()
    assert [dialer.dial(claim) for claim in book.claim()] == ["placed"] * 2
    set_back(book.ledger, then)
    book.clock.now += 600
    return name, since


def pause_all(book: Any, name: str) -> None:
    with book.ledger.write() as db:
        runs.pause_all(db, runs.find(db, name), PAUSED_WITH_ALL, OPERATOR_ALL)


def test_it_says_what_it_enters_and_when_to_repeat_it(
    book: Any, command: Command, lost: tuple[str, str]
) -> None:
    """In words: first what it would do, then what it has done; and again, that there is nothing left."""
    name, since = lost
    pause_all(book, name)
    dry = command("reconcile", "--since", since, "--dry-run")
    assert (dry.code, dry.out.splitlines()[-1]) == (0, "nothing was changed (--dry-run)")
    assert "  2: the recipient would be given the call back, not dialed again for it" in dry.out
    assert book.attempts() == []
    said = command("reconcile", "--since", since)
    assert said.code == 0
    first, second, last = said.out.splitlines()
    assert first.startswith("2 calls since ")
    assert first.endswith("2 of them not in this ledger")
    assert second == "  2: the recipient is given the call back, not dialed again for it"
    assert last == (
        "calls that are still in progress are not listed yet: repeat it when the last has ended, for example "
        "in 5 min; then go on with: dialer resume --all"
    )
    assert [row.state for row in book.attempts()] == ["placed"] * 2
    assert "0 of them not in this ledger" in command("reconcile", "--since", since).out


def test_json_has_the_same(book: Any, command: Command, lost: tuple[str, str]) -> None:
    """One object, and nothing else on either output."""
    name, since = lost
    pause_all(book, name)
    said = command("reconcile", "--since", since, "--json")
    assert said.err == ""
    told = said.json
    assert (told["listed"], told["placed"], told["held"], told["unmatched"]) == (2, 2, 0, [])
    assert (told["dry_run"], told["searched"], told["known"]) == (False, 0, 0)
    assert told["instances"] == ["10a4c4eb-f57e-4d4c-b602-bf39176ced07"]
    assert datetime.fromisoformat(told["since"]) == datetime.fromisoformat(since).replace(microsecond=0)
    assert datetime.fromisoformat(told["until"]) - book.clock.utc() < timedelta(seconds=2)
    assert datetime.fromisoformat(told["until"]).tzinfo == UTC


def test_it_is_refused_while_a_campaign_is_dialed(command: Command, lost: tuple[str, str], book: Any) -> None:
    """One line that says what to do first; nothing is changed."""
    name, since = lost
    said = command("reconcile", "--since", since)
    assert (said.code, said.out) == (2, "")
    assert said.err == f"dialer: {name} is being dialed; stop all dialing first: dialer pause --all\n"
    assert book.attempts() == []


@pytest.mark.parametrize(
    ("since", "words"),
    [
        ("soon", "--since 'soon': is no time"),
        ("2099-01-01", "--since 2099-01-01: is in the future"),
    ],
)
def test_time_that_is_none_is_a_mistake(command: Command, since: str, words: str) -> None:
    """Exit 2, in one line."""
    said = command("reconcile", "--since", since)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"dialer: {words}")
    assert len(said.err.splitlines()) == 1


def test_connect_that_cannot_be_reached_fails_and_says_so(
    book: Any, command: Command, lost: tuple[str, str], settings_environment: pytest.MonkeyPatch
) -> None:
    """Exit 1: it can be said again."""
    name, since = lost
    pause_all(book, name)
    settings_environment.setenv("AWS_ENDPOINT_URL_CONNECT", "http://127.0.0.1:9")
    said = command("reconcile", "--since", since)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("dialer: Connect does not tell its calls: ")
    assert "what was entered stays" in said.err
