"""`dialer schedule`: runs that begin by themselves.

Heavy imports stand inside the commands, as in command_line.py.
"""

import json
from typing import TYPE_CHECKING

import typer

from campaigns.command_line import AsJson, CampaignFile, Name, Sandbox, app, put, the_ledger, the_side
from campaigns.mistake import Mistake

if TYPE_CHECKING:
    from campaigns.ledger import Ledger
    from campaigns.schedule_view import Upcoming

schedule_app = typer.Typer(
    help="Runs that begin by themselves: what comes next, and what has gone wrong.",
    short_help="Runs that begin by themselves.",
    epilog="Example: dialer schedule add clinic-reminders.toml",
    invoke_without_command=True,
    rich_markup_mode=None,
)
app.add_typer(schedule_app, name="schedule")


@schedule_app.callback()
def schedule(context: typer.Context, as_json: AsJson = False) -> None:
    """Runs that begin by themselves: what comes next, and what has gone wrong.

    Without a command it lists all schedules: the next times, the list that each will read and whether it is
    there, the last run, and alarms.
    """
    if context.invoked_subcommand is not None:
        return
    from campaigns.ledger.schedules import unreadable
    from campaigns.schedule_view import listed, listed_as_json
    from campaigns.stored import unreadable_in_words

    with the_ledger(reads=True) as ledger:
        every = _upcoming(ledger)
        problems = unreadable(ledger)
    if as_json:
        # Their names, keys and codes; the others' schedules go on.
        wrong = [{"name": each.name, "code": each.code, "key": each.key} for each in problems]
        listed_ones = [listed_as_json(each) for each in every]
        put(json.dumps({"schedules": listed_ones} | ({"unreadable": wrong} if wrong else {})))
        return
    for problem in problems:
        put(f"{problem.name}: alarm: no run begins: {unreadable_in_words(problem.code, problem.key)}")
    if not every and not problems:
        put("no schedules yet; enter one: dialer schedule add CAMPAIGN.toml")
    for each in every:
        for line in listed(each):
            put(line)


@schedule_app.command(
    short_help="Let a campaign begin runs by itself.",
    epilog="Example: dialer schedule add clinic-reminders.toml",
)
def add(campaign_file: CampaignFile, sandbox: Sandbox = False) -> None:
    """Let a campaign begin runs by itself, at the times of its file's [schedule].

    Nothing is begun for times that have passed. With an edited file, what has changed holds from now on.
    Whether its calls are real or a trial is decided here, for ever.
    """
    from campaigns.campaign_source import read_campaign_and_source
    from campaigns.ledger.lists import put_schedule
    from campaigns.load_view import changes_in_words, judged_in_words

    campaign, source = read_campaign_and_source(campaign_file)
    if campaign.schedule is None:
        raise Mistake(f"{campaign_file}: has no [schedule]; add one, with cron, time_zone and list")
    exchange = the_side(sandbox)
    with the_ledger(create=True, campaign_file=campaign_file, campaign=campaign.name) as ledger:
        entered = put_schedule(
            ledger,
            campaign,
            campaign_file.resolve().parent,
            ledger.now(),
            exchange=exchange,
            source=source,
        )
        (each,) = [one for one in _upcoming(ledger) if one.scheduled.campaign.name == campaign.name]
    for line in changes_in_words(entered.changes) + judged_in_words(campaign.name, entered.judged):
        put(line)
    trial = " in the sandbox" if exchange == "sandbox" else ""
    put(f"{campaign.name} is scheduled{'' if entered.new else ' already'}{trial}; {each.in_words()}")
    if each.next is not None:
        path = each.scheduled.list_path(each.next)
        put(f"its list: {path}{'' if path.is_file() else ' (not there yet)'}")


@schedule_app.command(
    short_help="Let it begin no more runs.", epilog="Example: dialer schedule remove clinic-reminders"
)
def remove(name: Name) -> None:
    """Let a campaign begin no more runs. Those that have begun go on; `dialer cancel` ends them too."""
    from campaigns.ledger import runs, schedules

    with the_ledger() as ledger, ledger.write() as db:
        run = runs.find_to_come(db, name)
        ended = schedules.end(db, run.campaign_id)
    put(f"{name} begins no more runs by itself" if ended else f"{name} was not scheduled")


def _upcoming(ledger: "Ledger") -> "list[Upcoming]":
    from campaigns.ledger.health import alive
    from campaigns.ledger.schedules import scheduled
    from campaigns.schedule_view import upcoming

    present = ledger.now()
    processes = alive(ledger, present)
    return [upcoming(each, processes, present) for each in scheduled(ledger)]
