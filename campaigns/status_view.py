"""A status in words and tables, for people."""

import shutil
import sys
from collections.abc import Sequence
from datetime import datetime

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from campaigns import waits_view
from campaigns.attempt import RecipientState, RunState
from campaigns.plain_text import visible
from campaigns.reasons import held, searched
from campaigns.report import Status
from campaigns.schedule_view import left_over
from campaigns.side import told
from campaigns.time_words import about_days, day_and_time


def in_words(status: Status) -> list[str]:
    """One campaign, line by line."""
    run, numbers = status.run, status.figures
    lines = [f"{run.name}: {standing(status)}{side(status)}"]
    lines += [f"  {rehearsal(status)}"] if status.rehearsal else []
    lines += [f"  {progress(status)}"] if run.number else []
    others = [
        f"{numbers.recipients[state]:,} {state.replace('_', ' ')}"
        for state in RecipientState
        if numbers.recipients.get(state)
    ]
    if others:
        lines.append(f"  recipients: {', '.join(others)}")
    if numbers.attempts:
        lines.append(f"  attempts: {counted(numbers.attempts)}")
    if numbers.outcomes:
        lines.append(f"  outcomes: {counted(numbers.outcomes)}")
    lines += [f"  {line}" for line in doubts(status) if line != status.reason]
    if numbers.last_refusal:
        lines.append(f"  last refusal: {numbers.last_refusal}")
    if run.state == RunState.RUNNING:
        lines.append(f"  {pace(status)}")
    if elsewhere(status):
        lines.append(f"  {elsewhere(status)}")
    if status.reason and not status.waits_are_why:
        lines.append(f"  {status.reason}")
    lines += [f"  {line}" for line in _of_schedule(status)]
    # A line for each rule: together they are long.
    others_can = not status.waits_are_why
    return lines + [
        "  "
        + waits_view.told(wait, status.at, everybody=wait.recipients == status.waiting, others_can=others_can)
        for wait in status.waits
    ]


def standing(status: Status) -> str:
    """The state of the latest run; of a campaign that has not begun any, that it will."""
    return "scheduled" if status.run.number == 0 and status.schedule else status.run.state


def side(status: Status) -> str:
    """` (real calls)`, ` (in the sandbox)`; nothing for what no command has decided yet."""
    run = status.run
    if run.exchange is None and run.state == RunState.LOADED and status.schedule is None:
        return ""
    return f" ({told(run.exchange)})"


def elsewhere(status: Status) -> str | None:
    """Where real calls go, if not to AWS's own address."""
    if status.run.exchange != "connect" or status.endpoint is None:
        return None
    return f"its calls go to {status.endpoint}, which is not AWS's own address"


def rehearsal(status: Status) -> str | None:
    """What the clock of a rehearsal shows; None outside one."""
    if status.rehearsal is None:
        return None
    runs = f"runs {status.rehearsal.speed:g} times as fast as time passes"
    shows = day_and_time(status.at, status.at, year=True)
    return f"a rehearsal: its clock shows {shows} and {runs if status.rehearsal_runs else 'stands still'}"


def at_clock(status: Status) -> str:
    """The line for a log, after what the clock of a rehearsal shows."""
    before = f"{day_and_time(status.at, status.at)}  " if status.rehearsal else ""
    return before + plain(status)


def _of_schedule(status: Status) -> list[str]:
    """What its schedule is about to do, what has gone wrong with it, and runs that are not over."""
    lines = left_over(status.older)
    if status.schedule is not None:
        coming = status.schedule.in_words()
        lines += [coming] if coming not in (status.reason or "") else []
    return lines + ([f"alarm: {status.alarm}"] if status.alarm else [])


def doubts(status: Status) -> list[str]:
    """What became, or is to become, of those whose calls may have rung."""
    numbers = status.figures
    again = numbers.unknowns.not_found
    calls = "call was" if again == 1 else "calls were"
    never_found = f"unknown: {again:,} {calls} never found in Connect and dialed again" if again else None
    return [line for line in (searched(numbers), held(status.run, numbers), never_found) if line]


def progress(status: Status) -> str:
    """How far."""
    settled = status.total - status.waiting - status.in_progress
    share = settled / status.total if status.total else 1.0
    return f"{settled:,} of {status.total:,} settled ({share:.0%})"


def pace(status: Status) -> str:
    """How fast, and when it will be done."""
    if status.finishes_at is None:
        return f"{status.calls_per_second:.2f} calls per second"
    return (
        f"{status.calls_per_second:.2f} calls per second; all dialed {until(status.finishes_at, status.at)}"
    )


def until(instant: datetime, now: datetime) -> str:
    """An instant to come as people say it: `in 3 min (at 14:05)`, `in about 3 days, Thu 3 Dec 21:48`."""
    seconds = max(0.0, (instant - now).total_seconds())
    if seconds < 90:
        return f"in {seconds:.0f} s"
    if seconds < 5400:
        return f"in {seconds / 60:.0f} min (at {instant.astimezone():%H:%M})"
    if (days := about_days(instant, now)) is not None:
        return f"in {days}"
    return f"in {seconds / 3600:.1f} h ({day_and_time(instant, now)})"


def counted(numbers: dict[str, int]) -> str:
    """`873 answered, 61 busy`, most first."""
    ordered = sorted(numbers.items(), key=lambda item: -item[1])
    return ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in ordered)


def table(every: Sequence[Status]) -> list[str]:
    """All campaigns, a row each, under a header. On a terminal they hold its codes for colours, too.

    Where a row is too long for the terminal, the reason stands in lines of its own under it; where it still
    is, each campaign has lines of its own.
    """
    console = _console()
    whole, short = _rows(every, reasons=True), _rows(every, reasons=False)
    if _width(whole) <= console.width:
        return _drawn(console, whole)
    if _width(short) > console.width:
        return [line for each in every for line in folded(_as_lines(each), console.width)]
    lines = _drawn(console, short)
    # The header first, then a line for each campaign.
    found = lines[:1]
    for each, line in zip(every, lines[1:], strict=True):
        found += [line, *folded([f"  {_reason(each)}"] if _reason(each) else [], console.width)]
    return found


def folded(lines: Sequence[str], width: int | None) -> list[str]:
    """Lines that are no longer than a terminal is wide; what is left of one stands under it, indented by 4.

    width: in columns; None: nothing is folded.
    """
    if width is None:
        return list(lines)
    found = []
    for line in lines:
        indent = len(line) - len(line.lstrip())
        text = Text(visible(line.strip()))
        first, *others = text.wrap(Console(), max(20, width - indent)) or [Text()]
        found.append(" " * indent + first.plain.rstrip())
        if others:
            under = indent + 4 if indent else 2
            rest = Text(visible(line.strip())[len(first.plain) :].strip())
            found += [
                " " * under + more.plain.rstrip() for more in rest.wrap(Console(), max(20, width - under))
            ]
    return found


def width_of_terminal() -> int | None:
    """How wide the terminal is that shows the answer, or what COLUMNS says of it; None if it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _console() -> Console:
    # For a program that reads it a table is not folded to a terminal's width.
    return Console(width=width_of_terminal() or 100_000)


def _rows(every: Sequence[Status], *, reasons: bool) -> Table:
    view = Table(box=None, pad_edge=False, header_style="bold")
    words = ("campaign", "state", "calls", "reason")
    for title in ("campaign", "state", "calls", "settled", "waiting", "in progress", "pace", "reason"):
        if title != "reason" or reasons:
            view.add_column(title, justify="left" if title in words else "right", no_wrap=True)
    for each in every:
        settled = each.total - each.waiting - each.in_progress
        view.add_row(
            _cell(each.run.name),
            _cell(standing(each)),
            {"connect": "real", "sandbox": "trial"}.get(each.run.exchange or "", "undecided"),
            f"{settled:,}/{each.total:,}",
            f"{each.waiting:,}",
            f"{each.in_progress:,}",
            f"{each.calls_per_second:.2f}/s" if each.run.state == RunState.RUNNING else "",
            *([_cell(_reason(each))] if reasons else []),
        )
    return view


def _width(view: Table) -> int:
    """How wide a table is that is not folded."""
    return Console(width=100_000).measure(view).maximum


def _reason(each: Status) -> str:
    return "; ".join(part for part in (each.reason, each.alarm and f"alarm: {each.alarm}") if part)


def _as_lines(each: Status) -> list[str]:
    running = each.run.state == RunState.RUNNING
    figures = f"{progress(each)}; {each.waiting:,} waiting, {each.in_progress:,} in progress"
    lines = [f"{each.run.name}: {standing(each)}{side(each)}", f"  {figures}"]
    lines += [f"  {pace(each)}"] if running else []
    return lines + ([f"  {_reason(each)}"] if _reason(each) else [])


def _drawn(console: Console, view: Table) -> list[str]:
    with console.capture() as drawn:
        console.print(view)
    return [line.rstrip() for line in drawn.get().splitlines()]


def live(status: Status, note: str) -> RenderableType:
    """What `dialer run` shows while it dials."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar

    numbers = status.figures
    settled = status.total - status.waiting - status.in_progress
    bar = Table.grid(padding=(0, 2))
    bar.add_row(
        _cell(f"{status.run.name}{side(status)}", "bold"),
        ProgressBar(total=max(status.total, 1), completed=settled, width=32),
        f"{settled:,}/{status.total:,}",
    )
    parts: list[RenderableType] = [
        bar,
        _cell(f"  {status.waiting:,} waiting, {status.in_progress:,} in progress"),
        _cell(f"  {pace(status)}"),
    ]
    if numbers.outcomes or numbers.attempts.get("refused"):
        shown = dict(numbers.outcomes)
        if numbers.attempts.get("refused"):
            shown["refused"] = numbers.attempts["refused"]
        parts.append(_cell(f"  {counted(shown)}"))
    if status.rehearsal:
        parts.append(_cell(f"  {rehearsal(status)}"))
    if elsewhere(status):
        parts.append(_cell(f"  {elsewhere(status)}", "yellow"))
    if status.reason:
        parts.append(_cell(f"  {status.reason}", "yellow"))
    if note:
        parts.append(_cell(f"  {note}", "dim"))
    return Group(*parts)


def _cell(text: str, style: str = "") -> Text:
    """Text for rich: not read as markup, which `[connect]` would be, and without codes of its own."""
    return Text(visible(text), style=style)


def plain(status: Status) -> str:
    """The same in one line, for a log."""
    running = status.run.state == RunState.RUNNING
    parts = [] if running else [standing(status)]
    parts += [progress(status), f"{status.in_progress:,} in progress"]
    parts += [f"{status.calls_per_second:.2f}/s"] if running else []
    if status.figures.outcomes:
        parts.append(counted(status.figures.outcomes))
    if status.finishes_at:
        parts.append(f"all dialed {until(status.finishes_at, status.at)}")
    if status.waits_are_why:
        # Without how far it is away: that changes all the time, and each change is a line.
        parts.append(waits_view.reason(status.waits, None))
    elif status.reason:
        parts.append(status.reason)
    parts += [f"alarm: {status.alarm}"] if status.alarm else []
    return f"{status.run.name}{side(status)}: " + "; ".join(parts)
