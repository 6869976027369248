"""How are the telephone numbers of all countries read, in the ways that people write them?

    python bench/phone_numbers.py [--each 30] [--regions] [--seed 1]

For each region and each type of number that phonenumbers knows: its example, and `--each` random ones that
are valid by its metadata. Each number is written in eight ways, and read with its own region as default
region, as a campaign's list is; digits with a lost + are read in 12 other regions' lists, too. A cell may be
accepted as the number that was written, be rejected, or be accepted as another number, which must not happen.
Numbers of more than 15 digits, the most that E.164 has, are left out.

Prints a table in Markdown. `--regions` adds the regions where most numbers are rejected, for each way.
`--lost` reads all of it with leading_zeros = "lost".
"""

import argparse
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import phonenumbers
from phonenumbers import PhoneMetadata, PhoneNumber, PhoneNumberFormat, format_number

from campaigns.phone_number import e164

KINDS = (
    *("fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip"),
    *("pager", "uan", "voicemail"),
)
TRIES = 20
"""Random numbers that are tried for each valid one."""


def numbers(region: str, each: int, chance: random.Random) -> Iterator[PhoneNumber]:
    """Valid numbers of a region: examples, and random ones with another digit here and there."""
    plan: Any = PhoneMetadata.metadata_for_region(region)
    for kind in (getattr(plan, name) for name in KINDS):
        if kind is None or not kind.example_number:
            continue
        pattern, found = re.compile(kind.national_number_pattern or "(?!)"), {kind.example_number}
        lengths = kind.possible_length or plan.general_desc.possible_length
        for _ in range(each * TRIES):
            if len(found) > each:
                break
            sample = chance.choice(sorted(found))
            length = chance.choice(lengths)
            digits = [*(sample + "".join(chance.choices("0123456789", k=length)))[:length]]
            for place in range(chance.randrange(length), length):
                digits[place] = chance.choice("0123456789")
            if pattern.fullmatch(candidate := "".join(digits)):
                found.add(candidate)
        for national in sorted(found):
            number = phonenumbers.PhoneNumber(plan.country_code, int(national))
            if zeros := len(national) - len(national.lstrip("0")):
                number.italian_leading_zero, number.number_of_leading_zeros = True, zeros
            if phonenumbers.is_valid_number_for_region(number, region) and len(_e164(number)) <= 16:
                yield number


def _e164(number: PhoneNumber) -> str:
    return format_number(number, PhoneNumberFormat.E164)


def _significant(number: PhoneNumber) -> str:
    return phonenumbers.national_significant_number(number)


def _national(number: PhoneNumber) -> str:
    return format_number(number, PhoneNumberFormat.NATIONAL)


def _marked_zero(number: PhoneNumber) -> str:
    written = format_number(number, PhoneNumberFormat.INTERNATIONAL)
    region = phonenumbers.region_code_for_country_code(number.country_code or 0)
    prefix = phonenumbers.ndd_prefix_for_region(region, True)
    if prefix != "0":
        return written
    code, _, rest = written.partition(" ")
    return f"{code} (0){rest}"


def _dotted(number: PhoneNumber) -> str:
    first, *groups = re.findall(r"\d+", _national(number))
    return first if not groups else f"{first}/{'.'.join(groups)}"


WAYS: dict[str, Callable[[PhoneNumber], str]] = {
    "E.164": _e164,
    "with 00": lambda number: f"00{_e164(number)[1:]}",
    "as at home, with marks": _national,
    "the same digits alone, without a trunk prefix": _significant,
    "with a lost +": lambda number: _e164(number)[1:],
    "from abroad, with blanks and (0)": _marked_zero,
    "as at home, with a slash and dots": _dotted,
    "a spreadsheet's whole number": lambda number: str(int("".join(re.findall(r"\d", _national(number))))),
}
"""How people write a number."""
ELSEWHERE = "with a lost +, in another country's list"


def outcome(cell: str, region: str, number: PhoneNumber, *, zeros_lost: bool = False) -> str:
    """`itself`, `rejected` or `another`."""
    try:
        found = e164(cell, region, zeros_lost=True) if zeros_lost else e164(cell, region)
    except ValueError:
        return "rejected"
    return "itself" if found == _e164(number) else "another"


def markdown(*cells: str) -> str:
    """One row of a table."""
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table. Exits 1 if any number is accepted as another one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--each", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--regions", action="store_true")
    parser.add_argument("--lost", action="store_true")
    given = parser.parse_args()
    chance = random.Random(given.seed)
    regions = sorted(phonenumbers.SUPPORTED_REGIONS)
    ways: dict[str, Counter[str]] = {way: Counter() for way in (*WAYS, ELSEWHERE)}
    rejected: dict[str, Counter[str]] = {way: Counter() for way in WAYS}
    others: list[tuple[str, str, str]] = []
    count = 0
    for region in regions:
        for number in numbers(region, given.each, chance):
            count += 1
            cells = [(way, write(number), region) for way, write in WAYS.items()]
            lost = WAYS["with a lost +"](number)
            cells += [(ELSEWHERE, lost, each) for each in chance.sample(regions, 12)]
            for way, cell, where in cells:
                became = outcome(cell, where, number, zeros_lost=given.lost)
                ways[way][became] += 1
                if became == "rejected" and way in rejected:
                    rejected[way][region] += 1
                if became == "another":
                    others.append((cell, where, _e164(number)))
    print(f"{count:,} numbers of {len(regions)} regions, phonenumbers {phonenumbers.__version__}\n")
    print(markdown("written", "accepted as itself", "rejected", "accepted as another"))
    print(markdown("---", "---:", "---:", "---:"))
    for way, tally in ways.items():
        share = {key: f"{tally[key] / max(1, tally.total()):.1%}" for key in ("itself", "rejected")}
        print(markdown(way, share["itself"], share["rejected"], f"{tally['another']:,}"))
    if given.regions:
        for way, by_region in rejected.items():
            most = ", ".join(f"{region} {n}" for region, n in by_region.most_common(20))
            print(f"\n{way}: rejected {most}")
    for cell, where, phone in others[:20]:
        print(f"as another: {cell} in {where} instead of {phone}", file=sys.stderr)
    sys.exit(1 if others else 0)


if __name__ == "__main__":
    main()
