"""Which ledger a command means, where its place is relative to the folder that it is called in.

A ledger that is new knows of no call. If the same command were called from another folder and began one
there, all on the list would be called again, and no do-not-call list of the other ledger would hold. So
a new ledger is refused where another one is near, until the user says by an absolute path which one is meant.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from dotenv import dotenv_values

from campaigns.mistake import Mistake
from campaigns.settings import LedgerSettings

_NAMES_SHOWN = 5
_PLACES = {"DIALER_DATABASE_URL": "database_url", "DIALER_DATA_DIR": "data_dir"}
"""The variables that say where the ledger is, and the settings that they become."""


@dataclass(frozen=True, slots=True)
class _Near:
    """A ledger that the command may have meant."""

    folder: Path
    """Where the command would have found it."""
    file: Path | None
    """The SQLite file; None: the `.env` of that folder names the ledger."""
    variable: str = ""
    """The variable of that `.env`."""


def refuse_another_ledger(
    settings: LedgerSettings, *, create: bool, campaign_file: Path | None = None, campaign: str | None = None
) -> None:
    """Raise Mistake where a ledger in a folder near by is probably the one that is meant.

    These are the folders above the working directory and the campaign file's own. Where that ledger knows the
    campaign by its name, and this one does not, also the folders above the campaign file's. A place that is
    given by an absolute path, or a database server, is what the user means.

    create: whether the command makes a ledger where there is none. Otherwise that is a Mistake as well.
    """
    place = _relative_place(settings)
    if place is None:
        return
    here = Path.cwd()
    beside = campaign_file.resolve().parent if campaign_file is not None else here
    near = [
        *_found(here.parents, place, settings),
        *_found([beside] if beside != here else [], place, settings),
    ]
    farther = list(_found(beside.parents, place, settings)) if campaign_file is not None else []
    if not (here / place).exists():
        if near:
            raise Mistake(_no_ledger_here(here, place, near[0], settings, create=create))
        near = [each for each in farther if _knows(each, campaign)]
        if near:
            raise Mistake(_no_ledger_here(here, place, near[0], settings, create=create))
        if not create:
            raise Mistake(
                f"there is no ledger at {place} yet; load a list first: dialer load CAMPAIGN.toml LIST.csv "
                f"(looked in {here} and the folders above it; DIALER_DATA_DIR names another place)"
            )
    elif campaign is not None:
        others = [each for each in [*near, *farther] if _same_file(each.file, here / place) is False]
        knowing = [each for each in others if _knows(each, campaign)]
        if knowing and campaign not in (_campaigns(here / place) or ()):
            raise Mistake(_known_elsewhere(here, place, knowing[0], campaign, settings))


def _relative_place(settings: LedgerSettings) -> Path | None:
    """The ledger's file relative to the working directory; None where it does not depend on that."""
    if settings.database_url is None:
        file = settings.data_dir / "ledger.sqlite"
    else:
        from campaigns.ledger.address import checked_url

        url = checked_url(settings.database_url)
        if url.get_backend_name() != "sqlite" or not url.database or url.database.startswith((":", "file:")):
            return None
        file = Path(url.database)
    return None if file.is_absolute() else file


def _found(folders: Iterable[Path], place: Path, settings: LedgerSettings) -> Iterator[_Near]:
    for folder in folders:
        try:
            if (folder / place).is_file() and os.access(folder / place, os.R_OK):
                yield _Near(folder, folder / place)
            elif variable := _named_by_env(folder / ".env", settings):
                yield _Near(folder, None, variable)
        except OSError:
            continue  # a folder that this user may not look into


def _named_by_env(env: Path, settings: LedgerSettings) -> str | None:
    """The variable by which a `.env` elsewhere says where the ledger is, unless it is set here as well."""
    if settings.model_fields_set & set(_PLACES.values()) or not env.is_file():
        return None
    try:
        values = dotenv_values(env, interpolate=False)
    except (OSError, ValueError):
        return None
    return next((variable for variable in _PLACES if values.get(variable)), None)


def _campaigns(file: Path) -> list[str] | None:
    """The names of a ledger's campaigns; None if it cannot be read as it is."""
    from sqlalchemy import select

    from campaigns.ledger.engine import LedgerUnavailable, NothingToRead, open_to_read
    from campaigns.ledger.tables import campaigns

    try:
        ledger = open_to_read(f"sqlite:///{quote(str(file))}")
    except (Mistake, LedgerUnavailable, NothingToRead):
        return None
    try:
        with ledger.read() as db:
            return list(db.execute(select(campaigns.c.name).order_by(campaigns.c.name)).scalars())
    except LedgerUnavailable:
        return None
    finally:
        ledger.close()


def _knows(near: _Near, campaign: str | None) -> bool:
    return near.file is not None and campaign is not None and campaign in (_campaigns(near.file) or ())


def _same_file(one: Path | None, other: Path) -> bool | None:
    try:
        return None if one is None else one.samefile(other)
    except OSError:
        return None


def _no_ledger_here(here: Path, place: Path, near: _Near, settings: LedgerSettings, *, create: bool) -> str:
    anew = f"; for a new one here: {_chosen(here, place, settings)}" if create else ""
    why = ", and a new one would call everybody again" if create else ""
    if near.file is None:
        return (
            f"there is no ledger in {(here / place).parent}, but {near.folder / '.env'} names one "
            f"({near.variable}), which holds in {near.folder} only{why}: go there{anew}"
        )
    names = _campaigns(near.file)
    known = f" ({_listed(names)})" if names is not None else ""
    return (
        f"there is no ledger in {(here / place).parent}, but one in {near.file.parent}{known}{why}: go to "
        f"{near.folder}, or use it from here: {_chosen(near.folder, place, settings)}{anew}"
    )


def _known_elsewhere(here: Path, place: Path, near: _Near, campaign: str, settings: LedgerSettings) -> str:
    assert near.file is not None
    return (
        f"the ledger in {(here / place).parent} does not know {campaign}, but the one in "
        f"{near.file.parent} does: here everybody would be called again; go to {near.folder}, or "
        f"say which one is meant: {_chosen(near.folder, place, settings)}, or for this one: "
        f"{_chosen(here, place, settings)}"
    )


def _chosen(folder: Path, place: Path, settings: LedgerSettings) -> str:
    """The setting that means the ledger at this place for certain."""
    if settings.database_url is not None:
        return f"DIALER_DATABASE_URL=sqlite:///{quote(str(folder / place))}"
    return f"DIALER_DATA_DIR={folder / place.parent}"


def _listed(names: list[str]) -> str:
    if not names:
        return "empty"
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
