"""Which E.164 numbers reach the same telephone.

In a few countries a line has two international numbers at the same time. A do-not-call list may have one of
them and a list of people the other. Numbers that a country has replaced (Benin, Ivory Coast, Colombia …) are
not meant: the old ones no longer reach a line.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple


class _Rule(NamedTuple):
    """A family of numbers that differ only in how they begin."""

    one_of: re.Pattern[str]
    """A number of the family; its groups are what all forms have in common."""
    forms: tuple[str, ...]
    """All forms, as templates of those groups."""


def _rule(pattern: str, *forms: str) -> _Rule:
    return _Rule(re.compile(pattern), forms)


_OVERSEAS = {"262": "262|269|639|69[23]", "590": "590|69[01]", "594": "594|694", "596": "596|69[67]"}
"""The French departments overseas: their country code, and how their national numbers begin."""

_RULES = (
    # Mexico dropped the 1 before mobile numbers in 2019; networks and address books still have it.
    _rule(r"\+521?(\d{10})", r"+52\1", r"+521\1"),
    # Argentina's mobiles have a 9 when called from abroad, and none at home.
    _rule(r"\+549?([1-3]\d{9})", r"+54\1", r"+549\1"),
    # Brazil put a 9 before its mobile numbers; messengers still show the eight digits.
    _rule(r"\+55([1-9]\d)9?([6-9]\d{7})", r"+55\g<1>\2", r"+55\g<1>9\2"),
    # Palestinian lines are reached by Israel's country code as well.
    _rule(r"\+97[02](5[69]\d{7}|[2489]2\d{6})", r"+970\1", r"+972\1"),
    # San Marino: with the area code or without it, and as an area of Italy.
    _rule(r"\+(?:378(?:0549)?|390549)([89]\d{5})", r"+3780549\1", r"+378\1", r"+390549\1"),
    # Northern Ireland is dialed as area 48 of the Republic.
    _rule(r"\+(?:4428|35348)(\d{8})", r"+4428\1", r"+35348\1"),
    # The departments overseas are written as areas of France.
    *(
        _rule(rf"\+(?:33|{code})((?:{begins})\d{{6}})", rf"+{code}\1", r"+33\1")
        for code, begins in _OVERSEAS.items()
    ),
)

_BY_BEGINNING = {
    beginning: tuple(rule for rule in _RULES if any(form.startswith(beginning) for form in rule.forms))
    for beginning in {form[:3] for rule in _RULES for form in rule.forms}
}
"""The families by the first three characters of their numbers, so that no other number is compared at all."""


def forms(phone: str) -> tuple[str, ...]:
    """All numbers (E.164) of the telephone that has this one, itself first. Mostly there is no other.

    They are not all valid by the numbering plan: some are only written, by people and by old programs.
    """
    for rule in _BY_BEGINNING.get(phone[:3], ()):
        if found := rule.one_of.fullmatch(phone):
            return tuple(dict.fromkeys((phone, *(found.expand(form) for form in rule.forms))))
    return (phone,)


def all_forms(phones: Iterable[str]) -> list[str]:
    """The numbers of all these telephones, each once."""
    return list(dict.fromkeys(form for phone in phones for form in forms(phone)))


def telephone(phone: str) -> str:
    """One number of a telephone, the same one for all of its numbers."""
    return min(forms(phone))
