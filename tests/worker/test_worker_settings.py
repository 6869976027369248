"""The settings of this side: what follows from them, and what a wrong one says."""

import os
import stat
import tempfile
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from campaigns.client_token import WITHOUT_SECRET, Tokens
from campaigns.mistake import Mistake
from campaigns.settings import load_settings
from worker.machine import Machine
from worker.settings import CONNECT_TIMEOUT_SECONDS, DialerSettings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody's settings."""
    for name in list(os.environ):
        if name.startswith("DIALER_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_defaults_are_a_new_accounts() -> None:
    """Without any setting the quota of a new account is used, against Amazon Connect."""
    settings = load_settings(DialerSettings)
    assert (settings.calls_per_second, settings.burst) == (2.0, 5)
    assert (settings.replay_window_seconds, settings.read_timeout_seconds) == (5.0, 10.0)
    assert settings.exchange == "connect"
    assert settings.lease == timedelta(seconds=30)


@pytest.mark.parametrize(
    ("read_timeout", "replay_window", "lease"), [(10, 5, 30.0), (10, 0, 30.0), (30, 5, 43.0), (60, 20, 88.0)]
)
def test_lease_outlasts_the_slowest_answer(
    monkeypatch: pytest.MonkeyPatch, read_timeout: float, replay_window: float, lease: float
) -> None:
    """The default lease grows with the timeouts, and what is sent last is answered within it."""
    monkeypatch.setenv("DIALER_READ_TIMEOUT_SECONDS", str(read_timeout))
    monkeypatch.setenv("DIALER_REPLAY_WINDOW_SECONDS", str(replay_window))
    settings = load_settings(DialerSettings)
    assert settings.lease.total_seconds() == lease
    slowest = settings.send_within_seconds + CONNECT_TIMEOUT_SECONDS + read_timeout
    assert slowest < lease
    assert settings.send_within_seconds > replay_window


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("DIALER_CALLS_PER_SECOND", "0", "DIALER_CALLS_PER_SECOND=2.0 would do"),
        ("DIALER_CALLS_PER_SECOND", "fast", "DIALER_CALLS_PER_SECOND=2.0 would do"),
        ("DIALER_CALLS_PER_SECOND", "nan", "DIALER_CALLS_PER_SECOND=2.0 would do"),
        ("DIALER_BURST", "0", "DIALER_BURST=5 would do"),
        ("DIALER_BURST", "2.5", "DIALER_BURST=5 would do"),
        ("DIALER_REPLAY_WINDOW_SECONDS", "-1", "DIALER_REPLAY_WINDOW_SECONDS=5.0 would do"),
        ("DIALER_REPLAY_WINDOW_SECONDS", "60", "DIALER_REPLAY_WINDOW_SECONDS=5.0 would do"),
        ("DIALER_READ_TIMEOUT_SECONDS", "0", "DIALER_READ_TIMEOUT_SECONDS=10.0 would do"),
        ("DIALER_EXCHANGE", "moon", "DIALER_EXCHANGE=connect would do"),
        ("DIALER_ACCOUNT", "a b", "DIALER_ACCOUNT=default would do"),
        ("DIALER_REDIS_URL", "localhost:6379", "DIALER_REDIS_URL=redis://localhost:6379/0 would do"),
        ("DIALER_CLAIM_LEASE_SECONDS", "22", "it must be at least 23"),
    ],
)
def test_wrong_setting_is_named_with_a_value_that_would_do(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    """The message names the variable and ends in the remedy, in one line."""
    monkeypatch.setenv(name, value)
    with pytest.raises(Mistake) as mistake:
        load_settings(DialerSettings)
    text = str(mistake.value)
    assert text.startswith(f"{name}: ")
    assert said in text
    assert "\n" not in text


def test_password_of_a_wrong_url_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was given is shown, but never a URL."""
    monkeypatch.setenv("DIALER_REDIS_URL", "http://user:hunter2@redis.internal")
    with pytest.raises(Mistake) as mistake:
        load_settings(DialerSettings)
    assert "hunter2" not in str(mistake.value)


SECRET = "correct horse battery staple"


def test_secret_is_read_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine names attempts with it; no representation of the settings or the machine repeats it."""
    monkeypatch.setenv("DIALER_TOKEN_SECRET", f"  {SECRET}\n")
    settings = load_settings(DialerSettings)
    machine = Machine(settings, threading.Event())
    assert machine.tokens.of("c", 1, "+14155550100", 1) == Tokens(SECRET.encode()).of(
        "c", 1, "+14155550100", 1
    )
    shown = f"{settings!r} {settings} {machine!r} {machine.tokens!r} {settings.model_dump_json()}"
    assert "horse" not in shown


def test_without_a_secret_tokens_are_what_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset or empty: the unkeyed hash."""
    monkeypatch.setenv("DIALER_TOKEN_SECRET", "")
    machine = Machine(load_settings(DialerSettings), threading.Event())
    assert machine.tokens == WITHOUT_SECRET


@pytest.mark.parametrize("secret", ["hunter2", "  hunter2 hunter2  ", "hunter2-hunter2-hunter2-\udcff"])
def test_wrong_secret_is_not_repeated(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    """Too short, or no text: one line names the variable and how to make one, without the value."""
    monkeypatch.setenv("DIALER_TOKEN_SECRET", secret)
    with pytest.raises(Mistake) as mistake:
        load_settings(DialerSettings)
    text = str(mistake.value)
    assert text.startswith("DIALER_TOKEN_SECRET: ")
    assert "secrets.token_hex(32)" in text
    assert "hunter2" not in text
    assert "\n" not in text
    assert "would do" not in text  # a secret that is shown here would be used as it stands


def test_settings_cannot_change() -> None:
    """Read once, frozen."""
    with pytest.raises(ValueError, match="frozen"):
        load_settings(DialerSettings).burst = 7


def test_trials_have_queues_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox's worker and a real one on the same Redis never take each other's messages."""
    real = load_settings(DialerSettings)
    monkeypatch.setenv("DIALER_EXCHANGE", "sandbox")
    trial = load_settings(DialerSettings)
    queues = [real.dial_queue, real.control_queue, trial.dial_queue, trial.control_queue]
    assert queues == ["dial", "control", "dial-sandbox", "control-sandbox"]


def test_embedded_redis_has_a_short_socket_of_the_data_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The same data directory is the same socket, another is another, and deep paths do not lengthen it."""
    here = load_settings(DialerSettings)
    monkeypatch.setenv("DIALER_DATA_DIR", str(tmp_path / ".dialer"))
    same = load_settings(DialerSettings)
    monkeypatch.setenv("DIALER_DATA_DIR", str(tmp_path / ("deep/" * 30)))
    deep = load_settings(DialerSettings)
    assert here.redis == same.redis != deep.redis
    assert deep.redis.startswith(f"unix://{tempfile.gettempdir()}/dialer-{os.getuid()}-")
    assert len(deep.redis) == len(here.redis)


def test_dotenv_is_read_but_does_not_overrule(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `.env` file fills in what the environment does not say."""
    Path(".env").write_text("DIALER_BURST=7\nDIALER_CALLS_PER_SECOND=3\n", encoding="utf-8")
    Path(".env").chmod(stat.S_IRUSR)
    monkeypatch.setenv("DIALER_CALLS_PER_SECOND", "4")
    monkeypatch.setenv("DIALER_BURST", "")  # so that it is put back afterwards
    monkeypatch.delenv("DIALER_BURST")
    settings = load_settings(DialerSettings)
    assert (settings.burst, settings.calls_per_second) == (7, 4.0)


def test_a_trial_takes_no_events_of_real_calls_off_their_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a stand-in for SQS may be read by it; they would be missing in the real campaigns."""
    monkeypatch.delenv("AWS_ENDPOINT_URL_SQS", raising=False)
    queue = "https://sqs.us-east-1.amazonaws.com/123456789012/events"
    assert not DialerSettings().listens
    assert DialerSettings(events_queue_url=queue).listens
    assert not DialerSettings(events_queue_url=queue, exchange="sandbox").listens
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:5000")
    assert DialerSettings(events_queue_url=queue, exchange="sandbox").listens
