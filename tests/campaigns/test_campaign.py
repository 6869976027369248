import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.attempt import Outcome
from campaigns.campaign import Campaign, read_campaign
from campaigns.mistake import Mistake
from campaigns.redial import Rule
from campaigns.toml_values import duration

GUID = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
CONNECT = f"""
[connect]
instance_id = "{GUID}"
contact_flow_id = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
source_phone_number = "+14155550199"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "campaign.toml"


def refused(file: Path, text: str | bytes) -> str:
    """What is said of a campaign file, without its name."""
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(Mistake) as caught:
        read_campaign(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert "\n" not in message
    return message.removeprefix(f"{file}: ")


def test_the_least_that_will_do(file: Path) -> None:
    """Name, instance, flow and caller ID make a campaign; the rest has defaults that ring nobody twice."""
    file.write_text('name = "reminders"\n' + CONNECT)
    campaign = read_campaign(file)
    assert (campaign.list.phone, campaign.list.key, campaign.redial.max_attempts) == ("phone", None, 1)
    assert (campaign.redial.after, campaign.pacing.weight, campaign.pacing.calls_per_second) == (
        {},
        1.0,
        None,
    )


def test_a_byte_order_mark_does_no_harm(file: Path) -> None:
    """Files that Windows programs have saved are read too."""
    file.write_text('name = "reminders"\n' + CONNECT, encoding="utf-8-sig")
    assert read_campaign(file).name == "reminders"


def test_outcomes_are_keys_of_redial(file: Path) -> None:
    """`busy = "10m"` stands in [redial] beside max_attempts."""
    file.write_text(f'name = "r"\n{CONNECT}\n[redial]\nmax_attempts = 3\nbusy = "10m"\nno_answer = "2h"\n')
    after = read_campaign(file).redial.after
    assert after == {Outcome.BUSY: Rule(duration("10m")), Outcome.NO_ANSWER: Rule(duration("2h"))}


def test_a_rule_may_say_how_often(file: Path) -> None:
    """`busy = { wait = "10m", max_redials = 2 }`, or as a table of its own, beside rules that only wait."""
    rules = 'max_attempts = 9\nmax_attempts_per_day = 3\nbusy = { wait = "10m", max_redials = 2 }\n'
    own = '[redial.no_answer]\nwait = "2h"\nmax_redials = 4\n[redial.voicemail]\nwait = "1d"\n'
    file.write_text(f'name = "r"\n{CONNECT}\n[redial]\n{rules}{own}')
    redial = read_campaign(file).redial
    assert (redial.max_attempts, redial.max_attempts_per_day) == (9, 3)
    assert redial.after == {
        Outcome.BUSY: Rule(duration("10m"), 2),
        Outcome.NO_ANSWER: Rule(duration("2h"), 4),
        Outcome.VOICEMAIL: Rule(duration("1d")),
    }


def test_the_ledger_keeps_rules_as_a_file_could_say_them(file: Path) -> None:
    """A wait in seconds, or a table where there is a limit; read back, it is the same campaign."""
    rules = 'max_attempts = 9\nbusy = { wait = "10m", max_redials = 2 }\nno_answer = { wait = "2h" }\n'
    file.write_text(f'name = "r"\n{CONNECT}\n[redial]\n{rules}')
    campaign = read_campaign(file)
    kept = campaign.model_dump(mode="json")
    assert kept["redial"] == {
        "max_attempts": 9,
        "max_attempts_per_day": None,
        "when_unknown": None,
        "after": {"busy": {"wait": "600s", "max_redials": 2}, "no_answer": "7200s"},
    }
    assert Campaign.model_validate(kept) == campaign


FORM = 'expected { wait = "10m", max_redials = 2 }'
MOST = "[redial] busy: max_redials: expected a number from 1 to 100"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("busy = {}", f"[redial] busy: wait is missing; {FORM}"),
        ("busy = { max_redials = 2 }", f"[redial] busy: wait is missing; {FORM}"),
        ('busy = { wait = "10m", most = 2 }', f"[redial] busy: unknown key most; {FORM}"),
        ('[redial.busy]\nwait = "10m"\nmost = 2', f"[redial] busy: unknown key most; {FORM}"),
        ('busy = { wait = "10m", max_redials = 0 }', MOST),
        ('busy = { wait = "10m", max_redials = 101 }', MOST),
        ('busy = { wait = "10m", max_redials = true }', MOST),
        ('busy = { wait = "10m", max_redials = 1.5 }', MOST),
        ('busy = { wait = "10m", max_redials = "2" }', MOST),
        ("busy = { wait = 10 }", "[redial] busy: expected a duration such as 30s, 10m, 2h or 1d"),
        ('busy = ["10m"]', "[redial] busy: expected a duration such as 30s, 10m, 2h or 1d"),
        ("max_redials = 2", f"[redial] max_redials: belongs to an outcome, such as busy = {FORM[9:]}"),
        ("max_attempts = 0", "[redial] max_attempts: expected 1 or more"),
        ("max_attempts = 101", "[redial] max_attempts: expected 100 or less"),
        ("max_attempts = true", "[redial] max_attempts: expected a whole number"),
        ('max_attempts = "3"', "[redial] max_attempts: expected a whole number"),
        ("max_attempts_per_day = 0", "[redial] max_attempts_per_day: expected 1 or more"),
        ("max_attempts_per_day = 101", "[redial] max_attempts_per_day: expected 100 or less"),
        ("max_attempts_per_day = 1.5", "[redial] max_attempts_per_day: expected a whole number"),
        (
            "max_attempt_per_day = 2",
            "[redial] max_attempt_per_day: unknown key; did you mean max_attempts_per_day?",
        ),
        ("when_unknown = 'ring'", "[redial] when_unknown: expected 'hold' or 'redial'"),
        ("invalid_number = '1d'", "[redial]: invalid_number is never dialed again; remove that line"),
    ],
)
def test_a_wrong_redial_rule_is_said_with_what_would_do(file: Path, line: str, says: str) -> None:
    """The whole message: table, key, and what to write instead."""
    assert refused(file, f'name = "reminders"\n{CONNECT}\n[redial]\n{line}\n') == says


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("[pacing]\ncalls_per_second = 'x'", "[pacing] calls_per_second: expected a number"),
        ("[pacing]\nweight = 0", "[pacing] weight: expected 0.001 or more"),
        ("[pacing]\nweight = 2000", "[pacing] weight: expected 1000 or less"),
        ("[list]\nphone = ''", "[list] phone: is empty; remove that line, or write something"),
        ("[list]\nphone = 3", "[list] phone: expected a text in quotes"),
        ("[list]\nattributes = 3", "[list] attributes: expected a table"),
    ],
)
def test_a_value_of_the_wrong_kind_is_said_with_what_would_do(file: Path, table: str, says: str) -> None:
    """In the same plain words for every table."""
    assert refused(file, f'name = "reminders"\n{CONNECT}\n{table}\n') == says


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (
            "[pacing]\ncalls_per_secnd = 1",
            "[pacing] calls_per_secnd: unknown key; did you mean calls_per_second?",
        ),
        ("[redial]\nno_anser = '2h'", "[redial] no_anser: unknown key; did you mean no_answer?"),
        ("[redail]\nbusy = '2h'", "redail: unknown key; did you mean redial?"),
        ("[list]\nzzzzzz = 1", "[list] zzzzzz: unknown key; known keys: phone, default_region, key,"),
        ("[redial]\nbusy = 'soon'", "[redial] busy: expected a duration such as 30s, 10m, 2h or 1d"),
        ("[redial]\nbusy = 10", "[redial] busy: expected a duration such as 30s, 10m, 2h or 1d"),
        ("[redial]\nbusy = '\u0663h'", "[redial] busy: expected a duration such as 30s, 10m, 2h or 1d"),
        ("[redial]\nbusy = '99999999999999999d'", "[redial] busy: is longer than a year"),
        ("[redial]\nbusy = '367d'", "[redial] busy: is longer than a year"),
        ("[redial]\nfax = '1d'", "[redial]: fax is never dialed again; remove that line"),
        ("[redial]\nmax_attempts = 0", "[redial] max_attempts: "),
        ("[redial]\nafter = 5\nbusy = '10m'", "[redial]: "),
        ("[redial]\nwhen_unknown = 'ring'", "[redial] when_unknown: "),
        ("[pacing]\nweight = 0", "[pacing] weight: "),
        ("[pacing]\nweight = 1e-300", "[pacing] weight: "),
        ("[pacing]\ncalls_per_second = 0", "[pacing] calls_per_second: "),
        ("[pacing]\ncalls_per_second = 1e-300", "[pacing] calls_per_second: "),
        ("[pacing]\ncalls_per_second = inf", "[pacing] calls_per_second: "),
        ("[pacing]\ncalls_per_second = nan", "[pacing] calls_per_second: "),
        ("[list]\ndefault_region = 'Germany'", "[list] default_region: expected a country's two letters"),
        (
            "[list]\nattributes = ['First name']",
            "[list] attributes: 'First name' cannot be an attribute's name",
        ),
        ("[list]\nphone = ''", "[list] phone: "),
        ("[limits]\nper_number_per_day = 0", "[limits] per_number_per_day: expected 1 or more"),
        ("[schedule]\ncron = '0 9 * * *'", "[schedule] time_zone: is missing; [schedule] list: is missing"),
        (
            "[calling_hours]\nmonday = '9-20'",
            '[calling_hours] monday: expected a window such as "09:00-20:00"',
        ),
        (
            "[calling_hours]\nmonay = '09:00-20:00'",
            "[calling_hours] monay: unknown key; did you mean monday?",
        ),
        (
            "[calling_hours]\nweekdays = '07:00-20:00'\npreset = 'us-federal'",
            "[calling_hours]: monday 07:00-20:00 goes beyond us-federal",
        ),
        ("[list", "is not a TOML file: "),
    ],
)
def test_what_is_wrong_is_said_with_its_place(file: Path, table: str, says: str) -> None:
    """Every error names the table and the key in one line, and an unknown key the nearest known one."""
    assert refused(file, f'name = "reminders"\n{CONNECT}\n{table}\n').startswith(says)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('instance_id = "', 'instance_id = "x', "[connect] instance_id: expected the GUID of the instance"),
        ('source_phone_number = "+14155550199"', "", "[connect]: needs source_phone_number or queue_id"),
        ("+14155550199", "4155550199", "[connect] source_phone_number: expected a number with +"),
        ("+14155550199", "+1", "[connect] source_phone_number: "),
        ("instance_id", "instance", "[connect] instance_id: is missing"),
        ("[connect]", "[connect]\nring_timeout_seconds = 61", "[connect] ring_timeout_seconds: "),
        (
            "[connect]",
            "[connect]\nanswering_machine_detection = true",
            "[connect]: answering_machine_detection",
        ),
    ],
)
def test_what_connect_would_refuse_is_refused_first(file: Path, old: str, new: str, says: str) -> None:
    """Bad ids, numbers and combinations are found before anybody is loaded."""
    assert refused(file, 'name = "reminders"\n' + CONNECT.replace(old, new)).startswith(says)


@pytest.mark.parametrize("name", ["", "two words", "-dash", "a" * 101, "new\\nline", "Zoë"])
def test_a_name_is_plain(file: Path, name: str) -> None:
    """Names are typed in commands, so they are of letters, digits, dots, dashes and underscores."""
    said = refused(file, f'name = "{name}"\n{CONNECT}')
    assert said == "name: expected letters, digits, dots, dashes and underscores, 100 at most"


def test_files_that_cannot_be_read(file: Path) -> None:
    """No file, a folder, and text in another encoding are told apart."""
    with pytest.raises(Mistake, match="there is no such file"):
        read_campaign(file)
    with pytest.raises(Mistake, match="is a directory; name the campaign's TOML file"):
        read_campaign(file.parent)
    assert refused(file, 'name = "Zoë"'.encode("latin-1")).startswith("is not UTF-8 text")


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("10m", 600), ("2h", 7200), ("1d", 86400), (" 2 h ", 7200), ("0s", 0)]
)
def test_durations(text: str, seconds: int) -> None:
    """A number and s, m, h or d."""
    assert duration(text).total_seconds() == seconds


@given(st.text() | st.integers() | st.none() | st.from_regex(re.compile(r"\d+[smhd]"), fullmatch=True))
def test_a_duration_is_read_or_refused(text: object) -> None:
    """Whatever stands there, it is a year at most, or a ValueError and nothing else."""
    try:
        assert 0 <= duration(text).total_seconds() <= 366 * 86_400
    except ValueError as error:
        assert "expected a duration" in str(error)  # noqa: PT017 (either way is fine)


NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
OUTCOMES = [outcome for outcome in Outcome if outcome not in (Outcome.INVALID_NUMBER, Outcome.FAX)]
WAITS = st.integers(0, 366).map("{}d".format)
RULES = WAITS | st.fixed_dictionaries({"wait": WAITS}, optional={"max_redials": st.integers(1, 100)})
OPTIONS: Any = st.fixed_dictionaries(
    {
        "name": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", fullmatch=True),
        "connect": st.fixed_dictionaries(
            {
                "instance_id": st.just(GUID),
                "contact_flow_id": st.uuids().map(str),
                "source_phone_number": st.just("+14155550199"),
            },
            optional={
                "queue_id": st.uuids().map(str),
                "ring_timeout_seconds": st.integers(15, 60),
                "traffic_type": st.sampled_from(["GENERAL", "CAMPAIGN"]),
                "name": TEXT,
                "references": st.dictionaries(TEXT, st.fixed_dictionaries({"value": TEXT}), max_size=2),
            },
        ),
    },
    optional={
        "list": st.fixed_dictionaries(
            {},
            optional={
                "phone": TEXT,
                "key": TEXT,
                "time_zone": TEXT,
                "default_region": st.sampled_from(["US", "de"]),
                "attributes": st.dictionaries(NAMES, TEXT, max_size=3) | st.lists(NAMES, max_size=3),
            },
        ),
        "pacing": st.fixed_dictionaries(
            {}, optional={"calls_per_second": st.floats(0.0001, 1000), "weight": st.floats(0.001, 1000)}
        ),
        "redial": st.fixed_dictionaries(
            {},
            optional={
                "max_attempts": st.integers(1, 100),
                "when_unknown": st.sampled_from(["hold", "redial"]),
                "max_attempts_per_day": st.integers(1, 100),
                **dict.fromkeys(OUTCOMES[:3], RULES),
            },
        ),
    },
)


@settings(max_examples=40)
@given(OPTIONS)
def test_what_the_ledger_keeps_is_the_campaign(options: dict[str, Any]) -> None:
    """A campaign that went into the ledger as JSON comes out of it equal, and again."""
    campaign = Campaign.model_validate(options)
    kept = campaign.model_dump(mode="json")
    assert Campaign.model_validate(kept) == campaign
    assert Campaign.model_validate_json(campaign.model_dump_json()) == campaign
    assert Campaign.model_validate(kept).model_dump(mode="json") == kept


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("{client_token} {client_token}", "more than once"),
        ("x" * 65 + "{client_token}", "there is room for 64 characters"),
        ("code{client_token}", "put a space between {client_token} and what stands beside it"),
        ("{client_token}1", "put a space between {client_token} and what stands beside it"),
    ],
)
def test_a_name_that_could_not_be_searched_for_is_refused(file: Path, name: str, says: str) -> None:
    """Connect searches for 128 characters at most, and the token must be found in it again."""
    assert says in refused(file, 'name = "reminders"\n' + CONNECT + f'name = "{name}"\n')


@pytest.mark.parametrize(
    ("name", "becomes"),
    [
        ("x" * 64 + "{client_token}", "x" * 64 + "f" * 64),
        ("reminder {client_token}!", "reminder " + "f" * 64 + "!"),
        ("reminder {other}", "reminder {other}"),
    ],
)
def test_a_name_may_hold_each_calls_token(file: Path, name: str, becomes: str) -> None:
    """Any other brace is part of the name."""
    file.write_text('name = "reminders"\n' + CONNECT + f'name = "{name}"\n')
    connect = read_campaign(file).connect
    assert connect.name_of("f" * 64) == becomes
    assert connect.token_in_name == ("{client_token}" in name)


def with_connect(**lines: str) -> str:
    """A campaign file with these lines in [connect], in place of those that it has."""
    own = {
        "instance_id": GUID,
        "contact_flow_id": "b0b8f2dd-ed1b-4c44-af36-ce189a178181",
        "queue_id": "0f" * 4 + GUID[8:],
    }
    written = "".join(f'{key} = "{value}"\n' for key, value in (own | lines).items() if value)
    return f'name = "r"\n[connect]\n{written}'


ARN = f"arn:aws:connect:eu-central-1:123456789012:instance/{GUID}"


def test_the_region_of_an_arn_is_kept(file: Path) -> None:
    """It is compared with the dialer's own before the first call."""
    file.write_text(with_connect(instance_id=ARN))
    connect = read_campaign(file).connect
    assert (connect.instance_id, connect.region) == (GUID, "eu-central-1")
    assert Campaign.model_validate(read_campaign(file).model_dump(mode="json")).connect == connect


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ({"contact_flow_id": GUID}, "[connect]: contact_flow_id is the id of the instance; "),
        (
            {"contact_flow_id": f"{ARN}/queue/1{GUID[1:-1]}1"},
            "[connect] contact_flow_id: this names a queue; ",
        ),
        (
            {"contact_flow_id": "b0b8f2dd-ed1b-4c44-af36-ce189a178181:$SAVED"},
            "[connect] contact_flow_id: :$SAVED names a version or an alias, and calls use the ",
        ),
        ({"instance_id": ARN, "region": "us-east-1"}, "[connect]: region is of the Region us-east-1, and "),
        ({"region": "Frankfurt"}, '[connect] region: expected an AWS Region, such as "us-east-1"'),
        (
            {"search_attribute": "a" * 101},
            "[connect] search_attribute: expected letters, digits, - and _, 100 at",
        ),
    ],
)
def test_what_names_another_thing_in_aws_is_refused(file: Path, lines: dict[str, str], says: str) -> None:
    """It is said when the file is read, not by the first call's answer."""
    assert refused(file, with_connect(**lines)).startswith(says)


@pytest.mark.parametrize(
    ("references", "says"),
    [
        ({"A": "x" * 4095}, None),
        (
            {"A": "x" * 4096},
            "[connect] references: names and values have 4,097 bytes in all, and Connect takes 4,096",
        ),
        (
            {"A": "é" * 1024, "B": "é" * 1024},
            "[connect] references: names and values have 4,098 bytes in all",
        ),
    ],
)
def test_references_fit_together(file: Path, references: dict[str, str], says: str | None) -> None:
    """Connect counts the bytes of all of them, and would refuse each call."""
    lines = "".join(f'{name} = {{ value = "{value}" }}\n' for name, value in references.items())
    text = with_connect() + "[connect.references]\n" + lines
    if says is not None:
        assert refused(file, text).startswith(says)
        return
    file.write_text(text)
    assert len(read_campaign(file).connect.references) == len(references)


def test_a_reference_with_a_date_has_it_in_seconds(file: Path) -> None:
    """An ISO date would be refused with every call."""
    text = with_connect() + '[connect.references]\nDue = { value = "2026-12-01", type = "DATE" }\n'
    assert "seconds since 1970" in refused(file, text)
