"""What the documents show, works: commands, options, settings, links, examples."""

import re
import shlex
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest
import typer

from campaigns.attempt import Outcome
from campaigns.campaign import Campaign, RedialOptions, read_campaign
from campaigns.ledger.migrations import script
from campaigns.redial import Rule
from worker.cli import app
from worker.settings import DialerSettings

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md")])
NOT_FOR_COMPOSE = {"EXCHANGE"}
"""The processes of the Compose file place real calls; trials are for `dialer up --sandbox`."""


def commands() -> dict[str, typer.core.TyperCommand]:
    group = typer.main.get_command(app)
    return dict(group.commands)  # type: ignore[attr-defined]


def shown_commands() -> list[tuple[str, str]]:
    """Every `dialer …` line in an indented or fenced block of a page."""
    found = []
    for page in PAGES:
        for line in page.read_text().splitlines():
            match = re.match(r"(?:    |.*\bdocker compose run (?:--rm |-T )*)(dialer .*)", line)
            if match:
                found.append((page.name, match[1].split("#")[0].strip()))
    return found


def test_pages_show_commands() -> None:
    """The two tests below have something to look at."""
    assert len(shown_commands()) > 12


@pytest.mark.parametrize(("page", "line"), shown_commands())
def test_every_command_that_is_shown_exists(page: str, line: str) -> None:
    """Each `dialer …` line of the documents names a command and options that there are."""
    words = shlex.split(line.split(">")[0])
    known = commands()
    assert words[1] in known, page
    command = known[words[1]]
    # `dialer schedule` stands for itself, too.
    alone = getattr(command, "invoke_without_command", False) and words[2:3] in ([], ["--json"])
    if hasattr(command, "commands") and not alone:
        assert words[2] in command.commands, (page, line)
        command = command.commands[words[2]]
    options = {option for parameter in command.params for option in parameter.opts}
    for word in words[2:]:
        if word.startswith("-"):
            assert word in options, (page, line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """Each relative link of a page names a file of the project."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_campaign_file_of_the_readme_is_one(tmp_path: Path) -> None:
    """The campaign file that the README shows is accepted as it stands."""
    block = re.search(r'\n    name = "clinic-reminders"\n(?:    .*\n|\n)+', (ROOT / "README.md").read_text())
    assert block is not None
    shown = tmp_path / "shown.toml"
    shown.write_text(re.sub(r"^    ", "", block[0], flags=re.MULTILINE))
    assert read_campaign(shown).redial.max_attempts == 3


def test_every_key_of_the_campaign_file_is_documented() -> None:
    """docs/campaign-file.md has each table with each of its keys in the first column, and no other."""
    top, *sections = (ROOT / "docs" / "campaign-file.md").read_text().split("\n## ")
    assert keys_of(top) == {"name"}
    documented = {found[1]: keys_of(text) for text in sections if (found := re.match(r"`\[(\w+)\]`:", text))}
    tables = {name: field.annotation for name, field in Campaign.model_fields.items() if name != "name"}
    # A table that may be left out as a whole: `Table | None`.
    tables = {name: get_args(table)[0] if get_args(table) else table for name, table in tables.items()}
    assert set(documented) == set(tables)
    redial = documented.pop("redial")
    never = {Outcome.INVALID_NUMBER, Outcome.FAX}
    keys = RedialOptions.model_fields.keys() - {"after"}
    assert redial == keys | (set(Outcome) - never) | {field.name for field in fields(Rule)}
    for name, found in documented.items():
        assert found == set(tables[name].model_fields), name


def keys_of(text: str) -> set[str]:
    """The names in the first column of the tables of a page."""
    cells = re.findall(r"^\| (`.*?`) \|", text, re.MULTILINE)
    return {key for cell in cells for key in re.findall(r"`(\w+)`", cell)}


def test_campaign_file_page_shows_files_that_are_accepted(tmp_path: Path) -> None:
    """What docs/campaign-file.md shows, put together, is a campaign."""
    page = (ROOT / "docs" / "campaign-file.md").read_text()
    blocks = re.findall(r"\n\n((?:    .+\n|\n)+)", page)
    toml = "".join(block for block in blocks if not block.strip().startswith("dialer "))
    shown = tmp_path / "shown.toml"
    shown.write_text(re.sub(r"^    ", "", toml, flags=re.MULTILINE))
    assert read_campaign(shown).redial.after[Outcome.BUSY].max_redials == 2


def test_env_example_shows_every_setting_with_its_default() -> None:
    """.env.example names all settings and no other, and says their true defaults."""
    shown = dict(re.findall(r"^#?DIALER_(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    fields = {name.upper(): field for name, field in DialerSettings.model_fields.items()}
    assert set(shown) == set(fields)
    assert shown.pop("EXCHANGE") == fields["EXCHANGE"].default
    for name, value in shown.items():
        default = fields[name].default
        if default is not None and not isinstance(default, str | Path):
            assert float(value) == float(default), name


def test_compose_file_passes_every_setting_on() -> None:
    """A setting in .env reaches the containers."""
    passed = set(re.findall(r"^ +DIALER_(\w+):", (ROOT / "docker-compose.yml").read_text(), re.MULTILINE))
    assert passed == {name.upper() for name in DialerSettings.model_fields} - NOT_FOR_COMPOSE


def test_procfile_and_compose_file_run_the_same_processes() -> None:
    """Both start dial, control and beat by the same commands."""
    procfile = dict(
        line.split(": ", 1)
        for line in (ROOT / "Procfile").read_text().splitlines()
        if not line.startswith("#")
    )
    compose = (ROOT / "docker-compose.yml").read_text()
    for name, command in procfile.items():
        block = re.search(rf"\n  {name}:\n(?:    .*\n)+", compose)
        assert block is not None
        assert " ".join(command.split()) in " ".join(block[0].split()), name


def test_packages_list_their_files_in_reading_order() -> None:
    """The `__init__.py` of each package names every file in it, and no other."""
    for package in ("campaigns", "worker"):
        text = (ROOT / package / "__init__.py").read_text()
        listed = set(re.findall(r"([a-z_]+(?:\.py|\.lua|/))(?=[ ,])", text))
        there = {
            entry.name + ("/" if entry.is_dir() else "")
            for entry in (ROOT / package).iterdir()
            if (entry.suffix in (".py", ".lua") or (entry / "__init__.py").is_file())
            and entry.name != "__init__.py"
        }
        assert listed == there, package


def test_migrations_are_one_line() -> None:
    """Two branches of migrations would leave it open which one a ledger follows."""
    assert len(script().get_heads()) == 1
