"""Sandboxes as processes: what they are told by the settings, the environment and the command line."""

from pathlib import Path
from typing import Any

import pytest

from worker.cli import main
from worker.sandbox import server
from worker.sandbox.options import SandboxOptions
from worker.sandbox_process import options
from worker.settings import DialerSettings


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PORT", "SPEED", "CALL_SECONDS", "SEARCH_DELAY", "SEARCH_ONLY_ENDED"):
        monkeypatch.delenv(f"DIALER_SANDBOX_{name}", raising=False)
    monkeypatch.chdir(tmp_path)  # nobody's .env


def test_it_has_the_quotas_that_the_dialer_expects() -> None:
    """Each rate is the setting's, with a burst in proportion, and calls last as the numbers have it."""
    usual = options(DialerSettings(), None)
    assert (usual.search_per_second, usual.search_burst, usual.describe_burst) == (0.5, 1, 15)
    assert (usual.call_seconds, usual.search_delay_seconds, usual.search_only_ended) == (None, 0.0, False)
    fast = options(DialerSettings(calls_per_second=7, search_per_second=5, describe_per_second=100), None)
    assert (fast.calls_per_second, fast.search_per_second, fast.search_burst) == (7, 5, 10)
    assert (fast.describe_per_second, fast.describe_burst) == (100, 150)


def test_a_benchmark_may_ask_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The length of calls and the slowness of searching come from the environment."""
    for name, value in {"CALL_SECONDS": "6-30", "SEARCH_DELAY": "20", "SEARCH_ONLY_ENDED": "1"}.items():
        monkeypatch.setenv(f"DIALER_SANDBOX_{name}", value)
    asked = options(DialerSettings(), None)
    assert (asked.call_seconds, asked.search_delay_seconds, asked.search_only_ended) == ((6, 30), 20, True)


def test_the_command_line_reaches_every_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each flag of `dialer sandbox` sets its option, and the bursts of looking at calls follow the rates."""
    started: list[SandboxOptions] = []

    def serve(options: SandboxOptions, **_: Any) -> None:
        started.append(options)

    monkeypatch.setattr(server, "serve", serve)
    flags = (
        "--port 0 --calls-per-second 20 --burst 6 --describe-per-second 100 --search-per-second 5 --speed 3 "
        "--max-active-calls 9 --call-seconds 6-30 --search-delay 20 --search-only-ended --latency 0.5 "
        "--journal j.jsonl"
    )
    for arguments in (flags.split(), []):
        with pytest.raises(SystemExit) as over:
            main(["sandbox", *arguments])
        assert over.value.code == 0
    assert started == [
        SandboxOptions(
            port=0,
            calls_per_second=20,
            burst=6,
            describe_per_second=100,
            describe_burst=150,
            search_per_second=5,
            search_burst=10,
            speed=3,
            max_active_calls=9,
            call_seconds=(6, 30),
            search_delay_seconds=20,
            search_only_ended=True,
            latency_seconds=0.5,
            journal=Path("j.jsonl"),
        ),
        SandboxOptions(),
    ]


@pytest.mark.parametrize(
    ("flag", "value", "remedy"),
    [
        ("--call-seconds", "long", "such as 6-30"),
        ("--call-seconds", "30-6", "such as 6-30"),
        ("--search-per-second", "inf", "such as 2.0"),
        ("--describe-per-second", "nan", "such as 2.0"),
    ],
)
def test_flags_that_cannot_be_meant_are_told_before_anything_starts(
    flag: str, value: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and one line that shows how to write it."""
    with pytest.raises(SystemExit) as over:
        main(["sandbox", flag, value])
    assert (over.value.code, remedy in capsys.readouterr().err) == (2, True)
