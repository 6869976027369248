"""The [calling_hours] of a campaign's file: days, windows, zones, holidays, and the rules of others."""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, ValidationInfo, model_validator

from campaigns.calling_hours import Hours, Week
from campaigns.presets import Preset, preset, presets
from campaigns.public_holidays import known_place
from campaigns.time_zone_name import iana_zone
from campaigns.toml_values import Table, from_file

RECIPIENT = "recipient"
"""The `time_zone` that means: by the clocks of all places where the recipient may be."""

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WINDOW = re.compile(r"([0-9]{1,2}):([0-5][0-9])\s*-\s*([0-9]{1,2}):([0-5][0-9])")
_EXPECTED = 'expected a window such as "09:00-20:00", several "09:00-12:00, 14:00-20:00", or "closed"'


def minutes(window: str) -> tuple[int, int]:
    """`22:00-02:00` → (1320, 1560): minutes from the midnight of its day. Raises ValueError."""
    match = _WINDOW.fullmatch(window)
    first, last = (
        (int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])) if match else (0, 0)
    )
    # 24:00 is the end of a day; no hour is later.
    if match is None or first >= 1440 or last > 1440:
        raise ValueError(_EXPECTED)
    if first == last:
        raise ValueError(f'{window} is empty; write "closed", or "00:00-24:00" for the whole day')
    return first, last if last > first else last + 1440


def _windows(value: object) -> object:
    """What stands in the file → its windows as texts, in order."""
    if value is None:  # as the ledger keeps a day that is not named
        return None
    texts = [
        part for text in (value if isinstance(value, list | tuple) else [value]) for part in _parts(text)
    ]
    found = sorted((minutes(text), text) for text in texts)
    for (earlier, text), (later, other) in pairwise(found):
        if later[0] < earlier[1]:
            raise ValueError(f"{text} and {other} overlap; make one window of them")
    return tuple(re.sub(r"\s", "", text).rjust(11, "0") for _, text in found)


def _parts(text: object) -> list[str]:
    if not isinstance(text, str):
        raise ValueError(_EXPECTED)
    return [] if text.strip().lower() == "closed" else [part.strip() for part in text.split(",")]


def _zone(text: str, *, utc: bool = False) -> str:
    try:
        return iana_zone(text, utc=utc)
    except ValueError as error:
        raise ValueError(f"{text} {error}") from None


def _zone_or_utc(text: str) -> str:
    return _zone(text, utc=True)


def _several(value: object) -> object:
    if not isinstance(value, str | list | tuple):
        raise ValueError("expected a text in quotes, or a list of them")
    return [value] if isinstance(value, str) else value


def _known(find: Callable[[str], str]) -> AfterValidator:
    """A name is replaced by what `find` makes of it. One that it does not know must not stand in a file."""

    def check(text: str, info: ValidationInfo) -> str:
        try:
            return find(text)
        except ValueError:
            if from_file(info):
                raise
            return text  # the ledger's: not known any more, or not on this machine

    return AfterValidator(check)


Windows = Annotated[tuple[str, ...] | None, BeforeValidator(_windows)]
PlaceZone = Annotated[str, _known(_zone)]
"""The zone of a place where people live."""
Zone = Annotated[str, _known(_zone_or_utc)]
"""The same, or UTC: for what an operator sets by a clock of their own choice."""
Place = Annotated[str, _known(known_place)]
PresetName = Annotated[str, _known(lambda name: preset(name).name)]


class CallingHoursOptions(Table):
    """When calls may be placed. A day that is not named is closed."""

    monday: Windows = None
    tuesday: Windows = None
    wednesday: Windows = None
    thursday: Windows = None
    friday: Windows = None
    saturday: Windows = None
    sunday: Windows = None
    weekdays: Windows = None
    """Monday to Friday; a day's own line comes before it."""
    weekend: Windows = None
    """Saturday and Sunday, likewise."""
    time_zone: Annotated[str, _known(lambda text: text if text == RECIPIENT else _zone_or_utc(text))] = (
        RECIPIENT
    )
    """Whose clock counts: `recipient`, or an IANA name (UTC, too) for one clock for all."""
    fallback_time_zone: PlaceZone | None = None
    """For recipients of whom no zone is known. Without it they are not called."""
    holidays: Annotated[tuple[Place, ...], BeforeValidator(_several)] = ()
    """Closed on the public holidays of these."""
    preset: Annotated[tuple[PresetName, ...], BeforeValidator(_several)] = ()
    """Rules that others have made, and that hold too."""
    override: bool = False
    """The campaign's own windows take the place of the presets'."""

    @model_validator(mode="after")
    def _says_when(self, info: ValidationInfo) -> Self:
        if not any(self._week):
            wanted = 'names no open day; write for instance weekdays = "09:00-20:00"'
            if not self.preset:
                raise ValueError(f"{wanted}, or leave it out")
            if self.override:
                raise ValueError(f"{wanted}, which override = true puts in the place of the preset's hours")
            if self.names_a_day:
                raise ValueError(f"{wanted}, or name no day for the preset's hours")
        if self.override and not self.preset:
            raise ValueError("override = true is for a preset, and none is named")
        # A preset may have become narrower since a file was loaded: then both hold.
        narrow = from_file(info) and not self.override
        if narrow and self.names_a_day and self.time_zone == RECIPIENT:
            for each in self.presets:
                if wider := _outside(self._week, each.week):
                    raise ValueError(
                        f"{wider} goes beyond {each.name} ({each.in_words}); "
                        "narrow it, or say override = true if you know that it does not apply"
                    )
        return self

    @property
    def names_a_day(self) -> bool:
        """Whether it says anything about days itself, and does not leave it all to presets."""
        return any(getattr(self, day) is not None for day in (*_DAYS, "weekdays", "weekend"))

    @property
    def presets(self) -> tuple[Preset, ...]:
        """The presets that are named, as far as they are known."""
        return tuple(presets()[name] for name in self.preset if name in presets())

    @property
    def rules(self) -> tuple[Hours, ...]:
        """All that must allow a call."""
        zone = None if self.time_zone == RECIPIENT else self.time_zone
        week = self._week if self.names_a_day else (((0, 1440),),) * 7
        own = Hours("calling_hours", week, zone, self.holidays, self._unknown_holidays)
        others = () if self.override else tuple(Hours(each.name, each.week) for each in self.presets)
        rules = (own, *others) if self.names_a_day or self.holidays else others
        return (*rules, *self._unknown_presets)

    @property
    def _unknown_holidays(self) -> str | None:
        """The first of the places of which this machine knows no holidays, and what to do."""
        for place in self.holidays:
            try:
                known_place(place)
            except ValueError:
                return (
                    f"this machine does not know the holidays of {place}; pip install -U holidays, "
                    "or correct holidays in [calling_hours] and load the file again"
                )
        return None

    @property
    def _unknown_presets(self) -> tuple[Hours, ...]:
        """Presets that this version does not have: nobody knows what they forbid, so nothing is allowed."""
        return tuple(
            Hours(
                name,
                ((),) * 7,
                not_known=f"this version does not know the preset {name}; "
                "name another in [calling_hours] and load the file again",
            )
            for name in self.preset
            if name not in presets()
        )

    @property
    def _week(self) -> Week:
        days = []
        for number, day in enumerate(_DAYS):
            group = self.weekdays if number < 5 else self.weekend
            own = getattr(self, day)
            days.append(tuple(minutes(text) for text in (group if own is None else own) or ()))
        return tuple(days)


def _outside(week: Week, preset_week: Week) -> str | None:
    """The first window of a week that is not within another week's, in words; None if all are."""
    allowed = _minutes_of_week(preset_week)
    for day, spans in zip(_DAYS, week, strict=True):
        for first, last in spans:
            base = _DAYS.index(day) * 1440
            if any((base + minute) % 10_080 not in allowed for minute in range(first, last)):
                return f"{day} {_clock(first)}-{_clock(last)}"
    return None


def _minutes_of_week(week: Week) -> set[int]:
    return {
        (number * 1440 + minute) % 10_080
        for number, spans in enumerate(week)
        for first, last in spans
        for minute in range(first, last)
    }


def _clock(minute: int) -> str:
    minute = minute if minute <= 1440 else minute - 1440
    return f"{minute // 60:02}:{minute % 60:02}"
