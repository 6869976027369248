"""Choices as the ledger keeps them → Campaign, without judging them again.

They were checked when their file was loaded. A check that runs again here would be that of another version,
or of newer data on telephone numbers and time zones, and could say no: then the campaign could not be read,
and with it no other. So only the shape is asked for. What has none that this version knows is `Unreadable`.
"""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel

from campaigns.campaign import Campaign
from campaigns.connect_options import ConnectOptions
from campaigns.mistake import Mistake
from campaigns.redial import Rule

T = TypeVar("T", bound=BaseModel)

NOT_JSON = "choices_not_json"
"""The stored text is no JSON."""
UNKNOWN_KEY = "choices_unknown_key"
"""It has a key that this version does not know; `key` names it. A newer version has written it."""
UNKNOWN_VALUE = "choices_unknown_value"
"""The value of `key` is of a kind that this version does not know, or missing."""

CODES = (NOT_JSON, UNKNOWN_KEY, UNKNOWN_VALUE)
"""The reason codes of a campaign that has paused itself because its stored choices cannot be read."""

_DEEPEST = 20
"""Tables within tables: more than any campaign has."""
_LOWEST_RATE = 1e-9
_SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)
_MOST = 2**63
_NOT_STORABLE = re.compile(r"[\x00\ud800-\udfff]")
_DURATION = re.compile(r"([0-9]{1,9})s")


class Unreadable(Mistake):
    """The stored choices of one campaign cannot be read by this version."""

    def __init__(self, code: str, key: str | None = None, name: str | None = None) -> None:
        super().__init__(code, key, name)
        self.code = code
        """NOT_JSON, UNKNOWN_KEY or UNKNOWN_VALUE."""
        self.key = key
        """The key in the file, with its table: `connect.name`; None if it is about no key."""
        self.name = name
        """The campaign, if it is known whose choices they are."""

    def __str__(self) -> str:
        whose = "" if self.name is None else f"{self.name}: "
        return whose + unreadable_in_words(self.code, self.key)

    def of(self, name: str) -> "Unreadable":
        """The same, of the campaign with this name."""
        return Unreadable(self.code, self.key, name)


def unreadable_in_words(code: str, key: str | None) -> str:
    """What is wrong with stored choices, and what to do about it."""
    key = None if key is None else _shown(key)
    match code:
        case "choices_unknown_key":
            what = f"the key {key}, which this version does not know"
            remedy = "update the dialer on this machine"
        case "choices_unknown_value":
            what = f"a value of {key} that this version does not know"
            remedy = "update the dialer on this machine"
        case _:
            what = "text that is damaged"
            remedy = "restore them from a backup"
    return f"its choices in the ledger have {what}; {remedy}, or load its file again: dialer load"


def paused_because(code: str | None, reason: str | None) -> str | None:
    """Why a run is paused, in words: for one of CODES `reason` holds {"key": …} in JSON, else the words."""
    if code not in CODES or reason is None:
        return reason
    try:
        key = json.loads(reason)["key"]
    except (ValueError, TypeError, KeyError):
        return reason
    return unreadable_in_words(code, key)


def _shown(key: str) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in key[:60])


def read_stored(stored: bytes | str) -> Campaign:
    """The campaign that a ledger's text holds. Raises Unreadable."""
    campaign = _table(Campaign, parsed(stored), "", 0)
    _refuse_unusable(campaign)
    return campaign


def read_part(kind: type[T], stored: bytes | str, key: str) -> T:
    """One table of a campaign that cannot be read as a whole, such as its `connect`. Raises Unreadable."""
    whole = parsed(stored)
    if key not in whole:
        field = Campaign.model_fields[key]
        if field.is_required():
            raise Unreadable(UNKNOWN_VALUE, key)
        default: T = field.get_default(call_default_factory=True)
        return default
    return _table(kind, whole[key], f"{key}.", 0)


def read_connect(stored: bytes | str) -> ConnectOptions:
    """Where the calls of a campaign that cannot be read as a whole were sent, and where they carry a token.

    The rest is not there: nothing is to be dialed by it. Raises Unreadable if the instance is not known.
    """
    table = parsed(stored).get("connect")
    texts = table if isinstance(table, dict) else {}
    instance_id, name, attribute = (
        value if isinstance(value := texts.get(key), str) else None
        for key in ("instance_id", "name", "search_attribute")
    )
    if instance_id is None:
        raise Unreadable(UNKNOWN_VALUE, "connect.instance_id")
    return ConnectOptions.model_construct(
        instance_id=instance_id, contact_flow_id="", name=name, search_attribute=attribute
    )


def parsed(stored: bytes | str) -> dict[str, Any]:
    """The keys and values of a ledger's text. Raises Unreadable."""
    try:
        whole = json.loads(stored)
    except (ValueError, RecursionError):  # ValueError: also bytes that are no text, and endless numbers
        raise Unreadable(NOT_JSON) from None
    if not isinstance(whole, dict):
        raise Unreadable(NOT_JSON)
    return whole


def _refuse_unusable(campaign: Campaign) -> None:
    """Raises Unreadable for values that this version could not work by, or would divide by."""
    pacing = campaign.pacing
    for key, rate in (("calls_per_second", pacing.calls_per_second), ("weight", pacing.weight)):
        # Their inverses are seconds, and a time lies no further ahead than the calendar.
        if rate is not None and not _LOWEST_RATE <= rate <= 1 / _LOWEST_RATE:
            raise Unreadable(UNKNOWN_VALUE, f"pacing.{key}")
    try:
        _ = campaign.timetable.rules
    except ValueError:
        raise Unreadable(UNKNOWN_VALUE, "calling_hours") from None
    if campaign.schedule is not None:
        from cronsim import CronSim, CronSimError

        try:
            CronSim(campaign.schedule.cron, _SOME_DAY)
        except CronSimError:
            raise Unreadable(UNKNOWN_VALUE, "schedule.cron") from None
        try:
            campaign.schedule.list_of(_SOME_DAY)
        except (ValueError, IndexError, KeyError):
            raise Unreadable(UNKNOWN_VALUE, "schedule.list") from None


def _table(kind: type[T], stored: Any, where: str, depth: int) -> T:
    if not isinstance(stored, Mapping):
        raise Unreadable(UNKNOWN_VALUE, where.rstrip(".") or None)
    for key in stored:
        if key not in kind.model_fields:
            raise Unreadable(UNKNOWN_KEY, where + key)
    values = {}
    for key, field in kind.model_fields.items():
        if key in stored:
            values[key] = _value(field.annotation, stored[key], where + key, depth + 1)
        elif field.is_required():
            raise Unreadable(UNKNOWN_VALUE, where + key)
        else:
            values[key] = field.get_default(call_default_factory=True)
    return kind.model_construct(set(stored), **values)


def _value(kind: Any, stored: Any, where: str, depth: int) -> Any:
    """A value of this type. Raises Unreadable for one of another."""
    if depth > _DEEPEST:
        raise Unreadable(UNKNOWN_VALUE, where)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _value(inner[0], stored, where, depth)
    if origin in (Union, UnionType):
        (plain,) = (each for each in inner if each is not type(None))
        return None if stored is None else _value(plain, stored, where, depth)
    if origin is Literal:
        return _one_of(inner, stored, where)
    if origin is tuple and isinstance(stored, list):
        return tuple(_value(inner[0], each, where, depth + 1) for each in stored)
    if origin is dict and isinstance(stored, dict):
        names, values = inner
        return {
            _value(names, key, where, depth + 1): _value(values, each, f"{where}.{key}", depth + 1)
            for key, each in stored.items()
        }
    if isinstance(kind, type):
        if issubclass(kind, BaseModel):
            return _table(kind, stored, f"{where}.", depth)
        if issubclass(kind, Enum):
            return _one_of(tuple(kind), stored, where)
        if kind is timedelta:
            return _duration(stored, where)
        if kind is Rule:
            return _rule(stored, where)
        if kind is float and type(stored) in (int, float):
            with suppress(OverflowError):
                return float(stored)
        if type(stored) is kind and not _is_too_much(stored):
            return stored
    raise Unreadable(UNKNOWN_VALUE, where)


def _is_too_much(stored: Any) -> bool:
    """Whether no database takes it: a number beyond 64 bits, or a text with NULs or half characters."""
    if isinstance(stored, str):
        return _NOT_STORABLE.search(stored) is not None
    return isinstance(stored, int) and not -_MOST <= stored < _MOST


def _one_of(known: tuple[Any, ...], stored: Any, where: str) -> Any:
    for each in known:
        if isinstance(stored, str) and each == stored:
            return each
    raise Unreadable(UNKNOWN_VALUE, where)


def _duration(stored: Any, where: str) -> timedelta:
    match = _DURATION.fullmatch(stored) if isinstance(stored, str) else None
    if match is None:
        raise Unreadable(UNKNOWN_VALUE, where)
    return timedelta(seconds=int(match[1]))


def _rule(stored: Any, where: str) -> Rule:
    if not isinstance(stored, dict):
        return Rule(_duration(stored, where))
    if unknown := sorted(stored.keys() - {"wait", "max_redials"}):
        raise Unreadable(UNKNOWN_KEY, f"{where}.{unknown[0]}")
    most = stored.get("max_redials")
    if most is not None and type(most) is not int:
        raise Unreadable(UNKNOWN_VALUE, f"{where}.max_redials")
    return Rule(_duration(stored.get("wait"), f"{where}.wait"), most)
