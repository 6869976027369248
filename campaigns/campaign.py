"""One campaign's choices, read from a TOML file and checked before anything else happens."""

import re
import tomllib
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Self, get_args

import phonenumbers
from pydantic import (
    BaseModel,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    field_validator,
    model_validator,
)

from campaigns.attempt import Outcome
from campaigns.calling_hours import Timetable
from campaigns.calling_hours_options import CallingHoursOptions
from campaigns.code_page import known_codec
from campaigns.connect_options import ConnectOptions
from campaigns.mistake import Mistake
from campaigns.nearest import nearest
from campaigns.phone_number import e164
from campaigns.plain_text import visible
from campaigns.redial import Done, RedialAt, Ring, Rule, next_step
from campaigns.toml_values import FROM_FILE, Table, duration, in_seconds
from campaigns.when import LimitsOptions, ReminderOptions, ScheduleOptions, SuppressionOptions

_LONGEST_KEY = 100  # characters of a key that a message repeats
_ATTRIBUTE_KEY = re.compile(r"[A-Za-z0-9_-]{1,32767}")


def _rule(value: object) -> Rule:
    """`"10m"`, or `{ wait = "10m", max_redials = 2 }`."""
    if isinstance(value, Rule):
        return value
    if not isinstance(value, dict):
        return Rule(duration(value))
    unknown = sorted(value.keys() - {"wait", "max_redials"})
    if unknown:
        raise ValueError(f'unknown key {unknown[0]}; expected {{ wait = "10m", max_redials = 2 }}')
    if "wait" not in value:
        raise ValueError('wait is missing; expected { wait = "10m", max_redials = 2 }')
    most = value.get("max_redials")
    # A bool is an int to Python, and nobody means one.
    if most is not None and (not isinstance(most, int) or isinstance(most, bool) or not 1 <= most <= 100):
        raise ValueError("max_redials: expected a number from 1 to 100")
    return Rule(duration(value["wait"]), most)


def _rule_as_file(rule: Rule) -> object:
    wait = in_seconds(rule.wait)
    return wait if rule.max_redials is None else {"wait": wait, "max_redials": rule.max_redials}


RedialRule = Annotated[Rule, PlainValidator(_rule), PlainSerializer(_rule_as_file, when_used="json")]


class ListOptions(Table):
    """How the list's columns are read. Names match without regard to case and outer space."""

    phone: str = Field(default="phone", min_length=1)
    default_region: str | None = None
    key: str | None = Field(default=None, min_length=1)
    time_zone: str | None = Field(default=None, min_length=1)
    attributes: dict[str, str] = Field(default_factory=dict)
    """Attribute name → a column's name, or a template such as `Dear {first_name}`."""
    encoding: str | None = None
    """The codec of lists that are not Unicode. Default: Windows-1252, if their letters can be that."""
    leading_zeros: Literal["kept", "lost"] = "kept"
    """`lost`: a spreadsheet took the numbers for amounts, and dropped their first zeros."""
    other_countries: Literal["unmarked", "marked"] = "unmarked"
    """`marked`: numbers of other countries than `default_region` have + or 00 in this list, each of them."""

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, name: str | None) -> str | None:
        return None if name is None else known_codec(name)

    @property
    def zeros_lost(self) -> bool:
        """Whether a leading 0 is put back where only one number can be meant."""
        return self.leading_zeros == "lost"

    @property
    def others_marked(self) -> bool:
        """Whether digits without + or 00 are never another country's."""
        return self.other_countries == "marked"

    def reader(self) -> Callable[[str], str]:
        """How a cell of the list is read as a number, by these choices: `e164`, which says what it raises."""
        return partial(
            e164,
            default_region=self.default_region,
            zeros_lost=self.zeros_lost,
            others_marked=self.others_marked,
        )

    @model_validator(mode="after")
    def _marked_beside_a_region(self) -> "ListOptions":
        if self.others_marked and self.default_region is None:
            raise ValueError('other_countries = "marked" needs default_region, the country of the others')
        return self

    @field_validator("default_region")
    @classmethod
    def _known_region(cls, region: str | None) -> str | None:
        if region is None:
            return None
        upper = region.strip().upper()
        if upper not in phonenumbers.SUPPORTED_REGIONS:
            raise ValueError('expected a country\'s two letters, such as "US" or "DE"')
        return upper

    @field_validator("attributes", mode="before")
    @classmethod
    def _list_of_columns(cls, value: object) -> object:
        if not isinstance(value, list):
            return value
        if not all(isinstance(column, str) for column in value):
            raise ValueError('expected a table, or a list of columns such as ["first_name", "city"]')
        return {column: column for column in value}

    @field_validator("attributes")
    @classmethod
    def _legal_keys(cls, attributes: dict[str, str]) -> dict[str, str]:
        for key in attributes:
            if not _ATTRIBUTE_KEY.fullmatch(key):
                raise ValueError(
                    f"{key!r} cannot be an attribute's name (letters, digits, - and _ only); "
                    f'write attributes = {{ Some_Name = "{key}" }}'
                )
        return attributes


class PacingOptions(Table):
    """This campaign's part of the account's rate."""

    # Bounds that feed can reckon with: from one call in three hours to what DIALER_CALLS_PER_SECOND takes.
    calls_per_second: float | None = Field(default=None, ge=0.0001, le=1000)
    weight: float = Field(default=1.0, ge=0.001, le=1000)


class RedialOptions(Table):
    """Which outcomes are dialed again, after how long, and how often at most."""

    max_attempts: int = Field(default=1, ge=1, le=100, strict=True)
    """Rings for one recipient, the first one too."""
    max_attempts_per_day: int | None = Field(default=None, ge=1, le=100, strict=True)
    """Rings for one recipient within any 24 hours. One more is put off, not left out."""
    when_unknown: Literal["hold", "redial"] | None = None
    after: dict[Outcome, RedialRule] = Field(default_factory=dict)
    """Outcome → what follows it. An outcome not named is not dialed again."""

    @model_validator(mode="before")
    @classmethod
    def _outcomes_are_keys(cls, value: Any) -> Any:
        """In the file each outcome is a key of the table itself: `busy = "10m"`."""
        if not isinstance(value, dict):
            return value
        rest = {k: v for k, v in value.items() if k not in set(Outcome)}
        after = {k: v for k, v in value.items() if k in set(Outcome)}
        if not isinstance(rest.get("after", {}), dict):
            return rest
        return {**rest, "after": {**rest.get("after", {}), **after}} if after else rest

    @field_validator("after")
    @classmethod
    def _never_again(cls, after: dict[Outcome, Rule]) -> dict[Outcome, Rule]:
        for outcome in (Outcome.INVALID_NUMBER, Outcome.FAX):
            if outcome in after:
                raise ValueError(f"{outcome} is never dialed again; remove that line")
        return after

    def next_step(self, rings: Sequence[Ring], ended_at: datetime) -> RedialAt | Done:
        """What these rules say after the last of a recipient's rings, which ended at `ended_at`."""
        return next_step(
            rings,
            rules=self.after,
            max_attempts=self.max_attempts,
            max_attempts_per_day=self.max_attempts_per_day,
            ended_at=ended_at,
        )


class Campaign(Table):
    """One set of choices: which flow, which caller ID, which columns, how often to redial."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    connect: ConnectOptions
    list: ListOptions = ListOptions()
    pacing: PacingOptions = PacingOptions()
    redial: RedialOptions = RedialOptions()
    calling_hours: CallingHoursOptions | None = None
    limits: LimitsOptions = LimitsOptions()
    schedule: ScheduleOptions | None = None
    reminder: ReminderOptions | None = None
    suppression: SuppressionOptions = SuppressionOptions()

    @cached_property
    def timetable(self) -> Timetable:
        """When calls may be placed; no rules at all: at any time."""
        return Timetable(self.calling_hours.rules if self.calling_hours else ())

    def zones(self, known: str | None) -> tuple[str, ...]:
        """The zones that count for a recipient of whom these are known (IANA names, spaces between)."""
        if known:
            return tuple(known.split())
        fallback = self.calling_hours.fallback_time_zone if self.calling_hours else None
        return (fallback,) if fallback else ()

    @property
    def calls_per_day(self) -> int | None:
        """To one number within 24 hours, by the campaign's own limit and by its presets."""
        return self._most("per_number_per_day")

    @property
    def calls_per_week(self) -> int | None:
        """To one number within 168 hours, likewise."""
        return self._most("per_number_per_week")

    def _most(self, limit: Literal["per_number_per_day", "per_number_per_week"]) -> int | None:
        own: int | None = getattr(self.limits, limit)
        hours = self.calling_hours
        if hours is None or (hours.override and own is not None):
            return own
        limits: list[int | None] = [own, *(getattr(each, limit) for each in hours.presets)]
        return min((most for most in limits if most is not None), default=None)

    @model_validator(mode="after")
    def _token_has_an_attribute_of_its_own(self) -> Self:
        if self.connect.search_attribute in self.list.attributes:
            raise ValueError(
                f"connect.search_attribute: {self.connect.search_attribute} is one of list.attributes; "
                "name another, such as DialerToken"
            )
        return self


def read_campaign(path: Path) -> Campaign:
    """Read and check a campaign file.

    Raises Mistake naming the file, the key and the remedy; never half-reads.
    """
    try:
        with path.open("rb") as file:
            content_bytes = file.read(_MOST_BYTES + 1)
        if len(content_bytes) > _MOST_BYTES:
            raise Mistake(f"{path}: is longer than {_MOST_BYTES:,} bytes; name the campaign's TOML file")
        text = content_bytes.decode("utf-8-sig")
    except FileNotFoundError:
        raise Mistake(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise Mistake(f"{path}: is a directory; name the campaign's TOML file") from None
    except UnicodeDecodeError:
        raise Mistake(f"{path}: is not UTF-8 text; save the campaign file as UTF-8") from None
    except OSError as error:
        raise Mistake(f"{path}: cannot be read: {error.strerror}") from None
    if _MANY_PARTS.search(text):
        # Reading it would take tomllib hours.
        raise Mistake(f"{path}: has a key of more than 100 parts; no campaign has one")
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Mistake(f"{path}: is not a TOML file: {error}") from None
    except RecursionError:
        raise Mistake(f"{path}: has too many tables or lists within each other") from None
    except ValueError:  # Python's limit on digits
        raise Mistake(f"{path}: has a number with too many digits") from None
    try:
        if key := _with_nul(content, ""):
            raise Mistake(f"{path}: {_shortened(key)}: has a NUL character; remove it")
        return Campaign.model_validate(content, context=FROM_FILE)
    except ValidationError as error:
        wrong = [_shortened(_in_words(each)) for each in error.errors()[:_MOST_ERRORS]]
        raise Mistake(f"{path}: " + "; ".join(wrong)) from None
    except RecursionError:
        raise Mistake(f"{path}: has too many tables or lists within each other") from None


_MOST_BYTES = 1 << 20
_MOST_ERRORS = 10
_MANY_PARTS = re.compile(r"""(?<![\w"'-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){100}""")


def _shortened(text: str) -> str:
    """On one line whatever the file has for a key: its beginning says which."""
    plain = visible(text[:300])
    return plain if len(text) <= 300 else f"{plain}…"


def _with_nul(value: object, where: str) -> str | None:
    """The first key that has a NUL in it, or in its value: no database takes it."""
    if isinstance(value, str):
        return where if "\0" in value else None
    if isinstance(value, dict):
        for key, inner in value.items():
            name = f"{where}.{key}".lstrip(".")
            if "\0" in key or (found := _with_nul(inner, name)):
                return name if "\0" in key else found
    if isinstance(value, list):
        for inner in value:
            if found := _with_nul(inner, where):
                return found
    return None


# What pydantic finds wrong → what would be right.
_EXPECTED = {
    "greater_than_equal": "expected {ge:g} or more",
    "less_than_equal": "expected {le:g} or less",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "literal_error": "expected {expected}",
    "string_type": "expected a text in quotes",
    "string_too_short": "is empty; remove that line, or write something",
    "string_too_long": "is too long; {max_length} characters at most",
    "dict_type": "expected a table",
    "model_type": "expected a table",
}


def _in_words(error: Any) -> str:
    """One pydantic error as `[table] key: what to do`."""
    in_redial = error["loc"][:1] == ("redial",)
    steps = [str(step)[:_LONGEST_KEY] for step in error["loc"] if not in_redial or step != "after"]
    # Only the first two steps are names in the file; what follows is pydantic's own path.
    where = (f"[{steps[0]}] " if len(steps) > 1 else "") + (steps[1] if len(steps) > 1 else "".join(steps))
    if error["type"] == "extra_forbidden":
        if steps[:1] == ["redial"] and steps[-1] in ("wait", "max_redials"):
            return f'{where}: belongs to an outcome, such as busy = {{ wait = "10m", max_redials = 2 }}'
        near = nearest(steps[-1], _known_keys(steps[:-1]), cutoff=0.5)
        hint = f"; did you mean {near}?" if near else f"; known keys: {', '.join(_known_keys(steps[:-1]))}"
        return f"{where}: unknown key{hint}"
    if error["type"] == "missing":
        return f"{where}: is missing"
    if where in Campaign.model_fields and where != "name":
        where = f"[{where}]"  # it is about the table as a whole
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] in _EXPECTED:
        message = _EXPECTED[error["type"]].format_map(error.get("ctx", {}))
    if where == "name" and error["type"] == "string_pattern_mismatch":
        message = "expected letters, digits, dots, dashes and underscores, 100 at most"
    return f"{where}: {message}"


def _known_keys(table: "list[str]") -> "list[str]":
    model: Any = Campaign
    for step in table:
        field = model.model_fields.get(step)
        inner = field.annotation if field else None
        if isinstance(inner, UnionType):  # a table that may be left out
            inner = get_args(inner)[0]
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        model = inner
    keys = [key for key in model.model_fields if key != "after"]
    return keys + list(Outcome) if model is RedialOptions else keys
