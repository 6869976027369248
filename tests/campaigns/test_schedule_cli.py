"""`dialer schedule`, and what the other commands say of campaigns that begin runs by themselves."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from campaigns.campaign import read_campaign
from campaigns.ledger import Ledger, open_ledger, runs, schedules
from campaigns.ledger.health import beat
from campaigns.ledger.schedules import Scheduled, scheduled
from campaigns.ledger.tables import campaigns, recipients
from campaigns.load import load_fire
from campaigns.schedule import fires

CAMPAIGN = """
name = "clinic"

[connect]
instance_id = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
contact_flow_id = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
source_phone_number = "+14155550199"
"""
SCHEDULE = """
[schedule]
cron = "0 9 * * MON-FRI"
time_zone = "Europe/Berlin"
list = "lists/{date}.csv"
"""
WHEN = r"(tomorrow |\w{3} )?09:00 Europe/Berlin in [\d dhms]+"

Dialer = Callable[..., Any]
"""The `dialer` fixture of conftest.py: arguments → code, out, err, json."""


@pytest.fixture
def dialer(dialer: Dialer) -> Dialer:
    """The command, beside a campaign's file with a schedule and a list of two people."""
    Path("clinic.toml").write_text(CAMPAIGN + SCHEDULE)
    Path("people.csv").write_text("phone\n+14155550101\n+14155550102\n")
    return dialer


@pytest.fixture
def entered(dialer: Dialer) -> Dialer:
    """The command, after the schedule was entered."""
    assert dialer("schedule", "add", "clinic.toml").code == 0
    return dialer


@pytest.fixture
def ledger(entered: Dialer) -> Iterator[Ledger]:
    """The ledger that the commands use; the schedule stands there since a fortnight ago."""
    with closing(open_ledger("sqlite:///.dialer/ledger.sqlite")) as opened:
        with opened.write() as db:
            fortnight_ago = datetime.now(UTC) - timedelta(days=14)
            db.execute(campaigns.update().values(schedule_from=fortnight_ago))
        yield opened


def the_one(ledger: Ledger) -> Scheduled:
    """The only schedule that there is."""
    (each,) = scheduled(ledger)
    return each


def begin(ledger: Ledger) -> datetime:
    """The first run of the last fortnight that has not begun. Returns its time."""
    each = the_one(ledger)
    at = next(fires(each.options, each.since))
    rejects = Path("fire.rejects.csv")
    load_fire(
        ledger,
        each.campaign,
        each.fire(at),
        Path("people.csv"),
        now=datetime(2026, 1, 1, tzinfo=UTC),
        rejects_path=rejects,
    )
    return at


def one_line(said: Any) -> str:
    """A mistake: exit code 2, and one line."""
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    return str(said.err).removeprefix("dialer: ").strip()


def test_add_says_what_comes_next(dialer: Dialer) -> None:
    """When, how long until then, which list it will read, and that nobody is there to begin it."""
    said = dialer("schedule", "add", "clinic.toml")
    assert (said.code, said.err) == (0, "")
    first, second = said.out.splitlines()
    nobody = "if somebody is there to begin it: dialer up"
    assert re.fullmatch(rf"clinic is scheduled; the next run begins {WHEN}, {nobody}", first)
    where = re.escape(str(Path.cwd() / "lists"))
    assert re.fullmatch(rf"its list: {where}/\d{{4}}-\d\d-\d\d\.csv \(not there yet\)", second)


def test_add_again_says_what_has_changed(entered: Dialer) -> None:
    """The same file changes nothing; an edited one holds from now on, key by key."""
    assert entered("schedule", "add", "clinic.toml").out.startswith("clinic is scheduled already; the next")
    edited = SCHEDULE.replace("0 9", "30 8") + 'grace = "2h"\n'
    Path("clinic.toml").write_text(CAMPAIGN + edited + "[pacing]\nweight = 2\n")
    said = entered("schedule", "add", "clinic.toml").out.splitlines()
    assert said[:2] == [
        "changed in the campaign's file: pacing.weight: 1.0 → 2.0; it holds for calls to come",
        'changed in the campaign\'s file: schedule.cron: "0 9 * * MON-FRI" → "30 8 * * MON-FRI", '
        "schedule.grace: 30m → 2h; it holds for runs to come",
    ]
    assert "08:30 Europe/Berlin" in said[2]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["add", "plain.toml"], "plain.toml: has no [schedule]; add one, with cron, time_zone and list"),
        (["add", "nowhere.toml"], "nowhere.toml: there is no such file"),
        (["add", "wrong.toml"], "wrong.toml: [schedule] list: unknown placeholder {day}; there are {date}"),
        (["remove", "clinik"], "there is no campaign 'clinik'; did you mean clinic?"),
        (["bogus"], "No such command 'bogus'"),
    ],
)
def test_mistakes_are_one_line(entered: Dialer, command: list[str], words: str) -> None:
    """With what to do about them."""
    Path("plain.toml").write_text(CAMPAIGN)
    Path("wrong.toml").write_text(CAMPAIGN + SCHEDULE.replace("{date}", "{day}"))
    assert words in one_line(entered("schedule", *command))


def attend(ledger: Ledger, exchange: str = "connect") -> None:
    """The processes that begin the runs of this side have reported."""
    for role in ("control", "beat"):
        beat(ledger, f"{role}@here:1", role, exchange, None, datetime.now(UTC))


def test_a_run_that_no_process_begins_is_an_alarm(entered: Dialer, ledger: Ledger) -> None:
    """Also beside a trial's processes, which have nothing to do with it: its time has passed unnoticed."""
    each = the_one(ledger)
    missed = each.options.local(next(fires(each.options, each.since)))
    alarm = f"the run of {missed:%a %Y-%m-%d %H:%M} has not begun: "
    missing = f"{alarm}no process is there to begin it; start the dialer with: dialer up"
    assert entered("status", "clinic", "--json").json["schedule"]["alarm"] == missing
    attend(ledger, "sandbox")
    others = (
        f"{alarm}only processes of a trial are there, and do not begin it; start the dialer with: dialer up"
    )
    (found,) = entered("schedule", "--json").json["schedules"]
    assert (found["alarm"], found["attended"], found["exchange"]) == (others, False, "connect")
    assert f"alarm: {others}" in entered("status").out
    attend(ledger)
    (found,) = entered("schedule", "--json").json["schedules"]
    assert (found["alarm"], found["attended"]) == (None, True)


def test_a_schedule_is_entered_for_a_side(dialer: Dialer, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the flag, or else by DIALER_EXCHANGE; every view says which, and the other side is refused."""
    monkeypatch.setenv("DIALER_EXCHANGE", "sandbox")
    said = dialer("schedule", "add", "clinic.toml").out
    assert said.startswith("clinic is scheduled in the sandbox; the next run begins")
    assert "if somebody is there to begin it: dialer up --sandbox\n" in said
    assert dialer("status", "clinic").out.startswith("clinic: scheduled (in the sandbox)\n")
    assert dialer("status").out.splitlines()[1].split()[:3] == ["clinic", "scheduled", "trial"]
    assert "Europe/Berlin (in the sandbox)\n" in dialer("schedule").out
    monkeypatch.delenv("DIALER_EXCHANGE")
    assert "can only go on there" in one_line(dialer("schedule", "add", "clinic.toml"))
    assert dialer("schedule", "add", "clinic.toml", "--sandbox").out.startswith("clinic is scheduled already")


def test_a_schedule_that_no_side_was_decided_for_is_an_alarm(entered: Dialer, ledger: Ledger) -> None:
    """As in a ledger of an older program: no run of it begins before an operator has said which it is."""
    with ledger.write() as db:
        db.execute(campaigns.update().values(exchange=None))
    attend(ledger)
    assert "alarm: no run begins: it is not decided" in entered("status", "clinic").out
    assert entered("schedule", "add", "clinic.toml", "--sandbox").code == 0
    assert "not decided" not in entered("status", "clinic").out


def test_schedules_are_listed(entered: Dialer, ledger: Ledger) -> None:
    """The next three times by the schedule's clock, each one's list and whether it is there, the last run."""
    at = begin(ledger)
    attend(ledger)
    each = the_one(ledger)
    path = each.list_path(next(fires(each.options, datetime.now(UTC))))
    path.parent.mkdir()
    path.write_text("phone\n")
    lines = entered("schedule").out.splitlines()
    assert lines[0] == "clinic: 0 9 * * MON-FRI, Europe/Berlin (real calls)"
    assert [line.endswith("(not there yet)") for line in lines[1:4]] == [False, True, True]
    assert lines[1].endswith(str(path))
    local = each.options.local(at)
    assert lines[4:] == [f"  last: run 1 of {local:%a %Y-%m-%d %H:%M %Z}, running"]
    (found,) = entered("schedule", "--json").json["schedules"]
    assert (found["name"], found["alarm"], found["paused"], found["attended"]) == ("clinic", None, None, True)
    assert [one["there"] for one in found["next"]] == [True, False, False]
    assert found["last"] == {"run": 1, "at": local.isoformat(timespec="minutes"), "state": "running"}


def test_without_schedules_it_says_how_to_begin(dialer: Dialer) -> None:
    """An empty list is no riddle."""
    dialer("load", "clinic.toml", "people.csv")
    assert dialer("schedule").out == "no schedules yet; enter one: dialer schedule add CAMPAIGN.toml\n"
    assert dialer("schedule", "--json").json == {"schedules": []}


def test_status_of_a_campaign_that_has_not_begun(entered: Dialer) -> None:
    """It is there, it is scheduled, and the next run is said; for machines it is `loaded`."""
    lines = entered("status", "clinic").out.splitlines()
    assert lines[0] == "clinic: scheduled (real calls)"
    assert re.match(rf"  the next run begins {WHEN}", lines[1])
    assert re.search(rf"^clinic +scheduled .*the next run begins {WHEN}", entered("status").out, re.MULTILINE)
    found = entered("status", "clinic", "--json").json
    assert (found["state"], found["run"], found["recipients"]["total"]) == ("loaded", 0, 0)
    assert found["schedule"]["alarm"] is None
    assert datetime.fromisoformat(found["schedule"]["next"]) > datetime.now(UTC)
    for command in (["explain", "clinic", "+14155550101"], ["export", "clinic"], ["start", "clinic"]):
        assert "what comes next: dialer schedule" in one_line(entered(*command))


def test_alarm_is_in_every_status(entered: Dialer, ledger: Ledger) -> None:
    """What a run waits for, and until when; and what became of it."""
    attend(ledger)
    each = the_one(ledger)
    at = next(fires(each.options, each.since))
    assert schedules.wait(ledger, each, at, "2026.csv: there is no such file", at)
    alarm = (
        f"the run of {each.options.local(at):%a %Y-%m-%d} 09:00 waits: 2026.csv: there is no such file; tried"
    )
    for command in (["status", "clinic"], ["status"], ["schedule"]):
        said = entered(*command).out
        assert f"alarm: {alarm} again until " in said
        assert "09:30" in said
    assert entered("status", "clinic", "--json").json["schedule"]["alarm"].startswith(alarm)
    assert schedules.skip(ledger, each, [schedules.Skipped(at, "late")], at + timedelta(hours=1))
    assert "09:00 was skipped: 2026.csv: there is no such file\n" in entered("status", "clinic").out


def test_runs_that_are_not_over_are_mentioned(entered: Dialer, ledger: Ledger) -> None:
    """The latest run is shown, and of the others how many still wait."""
    begin(ledger)
    begin(ledger)
    said = entered("status", "clinic").out
    assert "  0 of 2 settled (0%)" in said
    assert "  run 1 is not over: running, 2 waiting, 0 in progress" in said
    found = entered("status", "clinic", "--json").json
    assert found["unfinished_runs"] == [{"run": 1, "state": "running", "waiting": 2, "in_progress": 0}]


def test_pause_holds_the_schedule_too(entered: Dialer, ledger: Ledger) -> None:
    """Before a run has begun, and with all runs that have."""
    assert entered("pause", "clinic").out == "clinic is paused; go on with: dialer resume clinic\n"
    held = "paused by an operator: no run begins; go on with: dialer resume clinic"
    assert entered("status", "clinic").out.splitlines() == ["clinic: scheduled (real calls)", f"  {held}"]
    assert f"  {held}\n" in entered("schedule").out
    assert entered("status", "clinic", "--json").json["schedule"]["paused"] == "by an operator"
    assert entered("resume", "clinic").out == "clinic is resumed; what comes next: dialer schedule\n"
    begin(ledger)
    begin(ledger)
    assert entered("pause", "clinic").code == 0
    found = entered("status", "clinic", "--json").json
    assert [found["state"], found["unfinished_runs"][0]["state"]] == ["paused", "paused"]
    assert "was paused already" in entered("pause", "clinic").out
    assert entered("resume", "clinic").out.startswith("clinic is resumed; watch it")
    found = entered("status", "clinic", "--json").json
    assert [found["state"], found["unfinished_runs"][0]["state"]] == ["running", "running"]


def test_cancel_ends_all_of_it(entered: Dialer, ledger: Ledger) -> None:
    """All runs that are not over, and the schedule; whoever enters it again begins anew."""
    begin(ledger)
    begin(ledger)
    said = entered("cancel", "clinic", "--yes").out
    assert said == "clinic is cancelled; 4 recipients will not be called; it begins no more runs by itself\n"
    assert entered("cancel", "clinic", "--yes").out == "clinic was cancelled already\n"
    assert entered("schedule").out.startswith("no schedules yet")
    assert entered("schedule", "add", "clinic.toml").code == 0
    begin(ledger)
    found = entered("status", "clinic", "--json").json
    assert (found["run"], found["state"], found["unfinished_runs"]) == (3, "running", [])


def test_cancel_before_the_first_run(entered: Dialer) -> None:
    """Nobody is loaded yet, and nobody will be."""
    said = entered("cancel", "clinic", "--yes").out
    assert said == "clinic is cancelled; 0 recipients will not be called; it begins no more runs by itself\n"
    assert "nobody is loaded, and it is not scheduled any more" in entered("status", "clinic").out


def test_removed_schedule_leaves_its_runs(entered: Dialer, ledger: Ledger) -> None:
    """What has begun goes on."""
    begin(ledger)
    assert entered("schedule", "remove", "clinic").out == "clinic begins no more runs by itself\n"
    assert entered("schedule", "remove", "clinic").out == "clinic was not scheduled\n"
    found = entered("status", "clinic", "--json").json
    assert (found["state"], found["schedule"]) == ("running", None)


def test_load_enters_no_schedule_and_says_so(dialer: Dialer) -> None:
    """It loads a list, as always; once the schedule is entered there is nothing to be said."""
    said = dialer("load", "clinic.toml", "people.csv").out.splitlines()
    assert said[1:] == [
        "schedule: not entered; let runs begin by themselves: dialer schedule add clinic.toml",
        "next: dialer start clinic, or for a trial: dialer start clinic --sandbox",
    ]
    assert dialer("schedule", "add", "clinic.toml").code == 0
    assert "schedule: not entered" not in dialer("load", "clinic.toml", "people.csv").out
    Path("clinic.toml").write_text(CAMPAIGN + SCHEDULE.replace("0 9", "0 7"))
    dialer("load", "clinic.toml", "people.csv")
    assert "0 7 * * MON-FRI" in dialer("schedule").out
    assert read_campaign(Path("clinic.toml")).schedule is not None


def test_latest_run_decides_what_a_finished_campaign_says(entered: Dialer, ledger: Ledger) -> None:
    """Between two runs it is finished, and says when the next one begins."""
    begin(ledger)
    with ledger.write() as db:
        run = runs.find(db, "clinic")
        db.execute(recipients.update().values(state="done"))
    assert runs.finish(ledger, datetime.now(UTC)) == 1
    attend(ledger)
    lines = entered("status", "clinic").out.splitlines()
    assert (run.number, lines[0]) == (1, "clinic: finished (real calls)")
    assert re.match(rf"  the next run begins {WHEN}", lines[-1])


@pytest.mark.parametrize("command", [["status", "clinic"], ["status"], ["schedule"]])
def test_clock_that_was_ahead_is_told(entered: Dialer, ledger: Ledger, command: list[str]) -> None:
    """Nothing begins for a year; entered again, it begins from now on."""
    with ledger.write() as db:
        db.execute(campaigns.update().values(schedule_from=datetime.now(UTC) + timedelta(days=365)))
    alarm = r"alarm: a clock that was ahead has written that no run begins before \w{3} \d{4}-.*; when all "
    assert re.search(alarm + r"clocks are right, .*: dialer schedule add FILE\n", entered(*command).out)
    assert "is scheduled already; the next run begins" in entered("schedule", "add", "clinic.toml").out
    assert "alarm" not in entered(*command).out


def test_zone_that_this_machine_does_not_know(entered: Dialer, ledger: Ledger) -> None:
    """Entered on a newer one: every command says so, and goes on with the other campaigns."""
    Path("other.toml").write_text((CAMPAIGN + SCHEDULE).replace("clinic", "other"))
    assert entered("schedule", "add", "other.toml").code == 0
    with ledger.write() as db:
        (choices,) = db.execute(select(campaigns.c.choices).where(campaigns.c.name == "clinic")).one()
        schedule = choices["schedule"] | {"time_zone": "America/Coyhaique_New"}
        changed = campaigns.update().where(campaigns.c.name == "clinic")
        db.execute(changed.values(choices=choices | {"schedule": schedule}))
    alarm = "alarm: this machine does not know the time zone America/Coyhaique_New; pip install -U tzdata"
    for command in (["status"], ["status", "clinic"], ["schedule"]):
        assert (entered(*command).code, alarm in entered(*command).out) == (0, True)
    listed = entered("schedule").out.splitlines()
    assert (listed[0], listed[1].strip()) == (
        "clinic: 0 9 * * MON-FRI, America/Coyhaique_New (real calls)",
        alarm,
    )
    assert "other: 0 9 * * MON-FRI, Europe/Berlin (real calls)" in listed
    found = {each["name"]: each for each in entered("schedule", "--json").json["schedules"]}
    assert (found["clinic"]["next"], len(found["other"]["next"])) == ([], 3)
    assert entered("pause", "clinic").code == entered("cancel", "clinic", "--yes").code == 0
