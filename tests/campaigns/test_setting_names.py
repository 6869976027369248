"""Names of settings: a slip of the pen is refused with what was meant, another program's variable is not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from campaigns import settings as settings_module
from campaigns.mistake import Mistake
from campaigns.setting_names import NAMES, misspelled, unknown
from campaigns.settings import LedgerSettings, load_settings
from worker.settings import DialerSettings


def slips(name: str) -> Iterator[str]:
    """Each letter left out, each two neighbours swapped, one letter doubled, the last word in the plural."""
    for i in range(len(name)):
        yield name[:i] + name[i + 1 :]
        yield name[:i] + name[i] + name[i:]
    for i in range(len(name) - 1):
        yield name[:i] + name[i + 1] + name[i] + name[i + 2 :]
    yield name + "S"


def test_all_settings_are_known() -> None:
    """The names are those of the settings' classes, whichever of them a command reads."""
    assert {name.upper() for name in DialerSettings.model_fields} == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_slip_is_refused_with_what_was_meant(name: str) -> None:
    """One letter too few, too many, or in another place: the setting that was meant is named."""
    for slip in slips(name):
        if slip in NAMES:
            continue
        assert misspelled({f"DIALER_{slip}": "1"}) == [
            f"DIALER_{slip} is no setting; did you mean DIALER_{name}? Rename it, or unset it"
        ]


@pytest.mark.parametrize("variable", ["DIALLER_BURST", "DAILER_BURST"])
def test_a_slip_in_the_first_word_is_refused(variable: str) -> None:
    """The name of the product is misspelled as easily."""
    assert "did you mean DIALER_BURST?" in misspelled({variable: "1"})[0]


@pytest.mark.parametrize("name", sorted(NAMES))
def test_settings_themselves_are_no_slips(name: str) -> None:
    """In capitals and in small letters, as the settings are read."""
    environment = {f"DIALER_{name}": "1", f"dialer_{name.lower()}": "1"}
    assert (misspelled(environment), unknown(environment)) == ([], [])


@pytest.mark.parametrize(
    "variable",
    [
        "DIALER_SERVICE_HOST",
        "DIALER_SERVICE_PORT",
        "DIALER_SERVICE_PORT_HTTP",
        "DIALER_PORT",
        "DIALER_PORT_8470_TCP_ADDR",
        "DIALER_PARENT_PID",
        "DIALER_REHEARSAL_SPEED",
        "DIALER_SANDBOX_SPEED",
        "MAILER_DATABASE_URL",
        "DEALER_ACCOUNT",
    ],
)
def test_what_others_set_is_their_business(variable: str) -> None:
    """Kubernetes sets some beside a service of that name; other programs are called alike."""
    assert (misspelled({variable: "1"}), unknown({variable: "1"})) == ([], [])


@pytest.mark.parametrize("service", ["REDIS", "DATABASE", "EVENTS", "WEB", "DATA", "TOKEN", "EVENTS_QUEUE"])
def test_services_beside_the_dialer_are_no_slips(service: str) -> None:
    """Kubernetes sets these in each container of a namespace with a service called `dialer-redis`."""
    address = "tcp://10.96.7.11:6379"
    environment = {
        f"DIALER_{service}_SERVICE_HOST": "10.96.7.11",
        f"DIALER_{service}_SERVICE_PORT": "6379",
        f"DIALER_{service}_SERVICE_PORT_MAIN": "6379",
        f"DIALER_{service}_PORT": address,
        f"DIALER_{service}_PORT_6379_TCP": address,
        f"DIALER_{service}_PORT_6379_TCP_PROTO": "tcp",
        f"DIALER_{service}_PORT_6379_TCP_PORT": "6379",
        f"DIALER_{service}_PORT_6379_TCP_ADDR": "10.96.7.11",
    }
    assert (misspelled(environment), unknown(environment)) == ([], [])


@pytest.mark.parametrize("name", ["WEB_HOST", "WEB_PORT", "WEB_URL"])
def test_settings_of_a_later_version_stop_no_earlier_one(name: str) -> None:
    """One environment serves both while a deployment is replaced."""
    assert misspelled({f"DIALER_{name}": "1"}) == []


@pytest.mark.parametrize("part", ["HOST", "PORT", "USER", "PASSWORD", "NAME"])
@pytest.mark.parametrize("setting", ["DATABASE", "REDIS"])
def test_parts_of_a_url_beside_the_url_are_no_slips(setting: str, part: str) -> None:
    """A deployment keeps the password apart and makes the URL of it; alone, it was meant to set something."""
    variable, url = f"DIALER_{setting}_{part}", f"DIALER_{setting}_URL"
    assert misspelled({variable: "x", url: "y"}) == []
    assert unknown({variable: "x", url: "y"}) == [variable]
    assert misspelled({variable: "x"}) == misspelled({variable: "x", url: ""}) != []


def test_an_empty_variable_sets_nothing() -> None:
    """As with the settings themselves, an empty value is none."""
    assert misspelled({"DIALER_BURTS": ""}) == unknown({"DIALER_XYZ": ""}) == []


def test_a_command_that_reads_few_settings_refuses_slips_in_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also where the slip stands in .env."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIALER_REPLAY_WINDOWS_SECONDS", "0")
    with pytest.raises(Mistake, match=r"did you mean DIALER_REPLAY_WINDOW_SECONDS\?"):
        load_settings(LedgerSettings)
    monkeypatch.delenv("DIALER_REPLAY_WINDOWS_SECONDS")
    (tmp_path / ".env").write_text("DIALER_DATABSE_URL=sqlite:///elsewhere\n")
    # Restored at the end: reading .env writes it into the environment.
    monkeypatch.setenv("DIALER_DATABSE_URL", "x")
    with pytest.raises(Mistake, match=r"did you mean DIALER_DATABASE_URL\?"):
        load_settings(LedgerSettings)


def test_a_name_that_is_like_none_is_said_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not passed over in silence, and does not stop a command: it may be another program's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings_module, "_said", set())
    monkeypatch.setenv("DIALER_XYZ", "1")
    load_settings(LedgerSettings)
    load_settings(LedgerSettings)
    assert capsys.readouterr().err == "dialer: no setting has this name, and it is ignored: DIALER_XYZ\n"
