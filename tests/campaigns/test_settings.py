import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import ValidationError

from campaigns.ledger import open_ledger
from campaigns.mistake import Mistake
from campaigns.settings import LedgerSettings, load_settings
from worker.settings import DialerSettings


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No DIALER_* variable and no .env file; what a test's .env adds to the environment goes with it."""
    before = dict(os.environ)
    for name in before:
        if name.upper().startswith("DIALER_"):
            del os.environ[name]
    monkeypatch.chdir(tmp_path)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_defaults() -> None:
    """Without any variable the ledger is a file under .dialer, and the quota is what AWS gives by default."""
    assert load_settings(LedgerSettings).ledger_url == "sqlite:///.dialer/ledger.sqlite"
    settings = load_settings(DialerSettings)
    assert (settings.calls_per_second, settings.burst, settings.replay_window_seconds) == (2.0, 5, 5.0)


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable takes the place of the default; an empty one counts as absent."""
    monkeypatch.setenv("DIALER_DATABASE_URL", "postgresql://dialer@db/dialer")
    monkeypatch.setenv("DIALER_DATA_DIR", "")
    settings = load_settings(LedgerSettings)
    assert (settings.ledger_url, settings.data_dir) == ("postgresql://dialer@db/dialer", Path(".dialer"))


@pytest.mark.parametrize("name", ["plain", "100%41 of it?", "a#b", "Zoë & co"])
def test_any_data_directory_will_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    """The ledger is in the data directory, whatever characters that has in its name."""
    monkeypatch.setenv("DIALER_DATA_DIR", str(tmp_path / name))
    with closing(open_ledger(load_settings(LedgerSettings).ledger_url)):
        assert (tmp_path / name / "ledger.sqlite").is_file()


def test_a_dotenv_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of .env count, for the SDK too, unless the environment says otherwise."""
    (tmp_path / ".env").write_text("DIALER_DATA_DIR=there\nDIALER_BURST=7\nAWS_REGION=eu-central-1\n")
    monkeypatch.setenv("DIALER_BURST", "3")
    settings = load_settings(DialerSettings)
    assert (settings.data_dir, settings.burst, os.environ["AWS_REGION"]) == (Path("there"), 3, "eu-central-1")


def test_settings_are_frozen() -> None:
    """What was read at the start holds until the end."""
    settings = load_settings(LedgerSettings)
    with pytest.raises(ValidationError):
        settings.data_dir = Path("elsewhere")  # type: ignore[misc] # what must not be done


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DIALER_CALLS_PER_SECOND", "fast"),
        ("DIALER_CALLS_PER_SECOND", "0"),
        ("DIALER_CALLS_PER_SECOND", "nan"),
        ("DIALER_BURST", "0"),
        ("DIALER_BURST", "2.5"),
        ("DIALER_REPLAY_WINDOW_SECONDS", "-1"),
        ("DIALER_READ_TIMEOUT_SECONDS", "0"),
        ("DIALER_CLAIM_LEASE_SECONDS", "soon"),
        ("DIALER_FOLLOW_SECONDS", "-3"),
        ("DIALER_DIAL_THREADS", "many"),
        ("DIALER_EXCHANGE", "skype"),
    ],
)
def test_a_wrong_value_is_a_mistake(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """The message names the variable, what it means, what it is, and a value that would do: and it does."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(Mistake) as caught:
        load_settings(DialerSettings)
    message = str(caught.value)
    meaning = DialerSettings.model_fields[variable.removeprefix("DIALER_").lower()].description
    assert message.startswith(f"{variable}: {meaning}: ")
    assert f"(it is {value!r})" in message
    assert "\n" not in message
    remedy = message.rpartition(f"; {variable}=")[2].removesuffix(" would do")
    monkeypatch.setenv(variable, remedy)
    load_settings(DialerSettings)


def test_several_wrong_values_are_named_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody mends one variable to be told of the next."""
    monkeypatch.setenv("DIALER_BURST", "0")
    monkeypatch.setenv("DIALER_CALLS_PER_SECOND", "0")
    with pytest.raises(Mistake, match=r"DIALER_CALLS_PER_SECOND: .*; DIALER_BURST: "):
        load_settings(DialerSettings)


def test_a_wrong_url_is_never_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL may hold a password, so the message does without it."""
    monkeypatch.setenv("DIALER_REDIS_URL", "http://:s3cr3t@localhost")
    with pytest.raises(Mistake, match=r"DIALER_REDIS_URL: where Redis .* would do$") as caught:
        load_settings(DialerSettings)
    assert "s3cr3t" not in str(caught.value)
