"""Write clinic-reminders.csv: made-up people with numbers that are reserved for fiction.

    python make_clinic_list.py            writes the file anew
    python make_clinic_list.py --check    exits with 1 if the file is not what this program writes

The same program writes the same bytes on every machine.
"""

import argparse
import csv
import datetime
import io
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import phonenumbers

LIST = Path(__file__).with_name("clinic-reminders.csv")
HEADER = ["appointment_id", "first_name", "last_name", "phone", "clinic", "appointment_at", "tz", "notes"]
ROWS, DUPLICATES = 1000, 20
FIRST_DAY = datetime.date(2027, 3, 1)

Item = TypeVar("Item")

# NANPA: 555-0100 … 555-0199 are for fictional use in every area code.
US_ZONES = {
    "America/New_York": (
        "201 202 203 207 212 215 216 239 267 301 302 304 305 315 347 401 404 410 412 413 434 470 484 502 "
        "508 513 516 517 518 540 551 561 585 603 607 609 610 614 617 646 678 704 716 718 732 740 757 772 786 "
        "802 803 804 813 828 843 845 856 860 864 904 908 914 917 919 941 954 973 978 980"
    ),
    "America/Chicago": (
        "205 210 214 217 218 224 225 254 262 281 309 312 314 316 318 319 320 361 402 405 409 414 417 469 479 "
        "501 504 507 512 515 563 601 608 612 618 630 651 662 682 708 713 715 763 773 806 815 816 817"
    ),
    "America/Denver": "303 307 385 406 435 505 719 720 801 970",
    "America/Phoenix": "480 602 623",
    "America/Los_Angeles": (
        "206 209 213 253 310 323 360 408 415 424 425 503 509 510 530 559 562 619 626 650 661 702 707 714 775 "
        "805 818 831 858 909 916 925 949 951"
    ),
    "Pacific/Honolulu": "808",
    "America/Anchorage": "907",
}
# Ranges abroad: (zone, digits before the free ones, how many are free, lowest, highest).
ABROAD = [
    ("Europe/London", "+44207946", 4, 0, 999),  # Ofcom: 020 7946 0000 … 0999
    ("Europe/Berlin", "+493023125", 3, 0, 999),  # Bundesnetzagentur: (0)30 23125 000 … 999
    ("Europe/Paris", "+3319900", 4, 0, 9999),  # Arcep: 01 99 00 xx xx
    ("Europe/Stockholm", "+4670174", 4, 605, 699),  # PTS: 070-174 06 05 … 06 99
    ("Australia/Sydney", "+6125550", 4, 0, 9999),  # ACMA: (02) 5550 xxxx
    ("Australia/Perth", "+6185550", 4, 0, 9999),  # ACMA: (08) 5550 xxxx
]
AUSTRALIAN_MOBILES = ["+61491570006", *(f"+6149157015{i}" for i in range(6, 10)), "+61491570110"]  # ACMA

FIRST_NAMES = """
    Aaliyah Adaeze Agnieszka Ahmed Aiko Alejandro Amélie Ananya Anders André Aoife Björn Bogdan Camila
    Carlos Chiara Chinedu Daniel Dmitri Elena Elif Emma Ethan Fatima Françoise Gabriela Giulia Grace
    Hannah Hao Ibrahim Ingrid Isabel Jack James Jasmine Jürgen João Kateřina Keisha Kwame Lars Layla
    Leilani Liam Lucía Łukasz Maria Mateo Maya Mehmet Mia Michael Ming Naoko Nikolai Noah Nuño Olivia
    Oluwaseun Omar Oscar Paula Priya Rachel Ravi Rosa Ryan Samuel Saoirse Sara Sean Siân Siobhán Sofía
    Søren Tamika Thandiwe Thomas Tomáš Uma Victor Wei William Xavier Yusuf Yuki Zainab Zoë Ольга 美咲
    Δημήτρης
""".split()  # noqa: SIM905
LAST_NAMES = """
    Abdi Achebe Adams Ångström Bauer Begum Brown Castillo Chen Clark Côté Davis Delgado Dubois Evans
    Fischer García González Green Gupta Hall Harris Hernández Hughes Ivanov Jackson Jensen Johnson Jones
    Kaya Khan Kim Kowalski Lee Lefèvre Lewis Lindqvist López Martin Mensah Miller Moore Müller Nakamura
    Nguyễn Novák O'Brien O'Neill Okafor Olsen Ortiz Park Patel Pérez Petrov Quinn Ramírez Reyes Roberts
    Rossi Ruiz Şahin Santos Schmidt Silva Singh Smith Sørensen Strauß Suzuki Taylor Thompson Torres Tran
    Turner Vasquez Walker Wang White Williams Wilson Wójcik Wright Yamamoto Young Zhang Žižek
""".split()  # noqa: SIM905
CLINICS = ["Harbor", "Maple Street", "Northside", "St. Brendan's", "Riverside", "Sunnyvale, East Wing"]
NOTES = [
    "prefers mornings",
    "wheelchair, ground floor",
    'goes by "Sunny"',
    "fasting required; no coffee",
    "second visit\nbring the X-rays",
    "interpreter: Español",
    "Tür klemmt, bitte klingeln",
    'said: "call me any time"\nleft a message on Monday',
]


class Chance:
    """A seeded source of choices. Only `random()` itself is promised to stay the same between Pythons."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311  # reproducible, and no secret

    def below(self, limit: int) -> int:
        return int(self._random.random() * limit)

    def pick(self, items: Sequence[Item]) -> Item:
        return items[self.below(len(items))]


class People:
    """Rows of the list, each appointment and each number once."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._numbers: set[str] = set()
        self._mobiles = list(AUSTRALIAN_MOBILES)
        self._next_appointment = 10_001

    def good(self) -> list[str]:
        zone, number = self._number()
        return self.person(self.written(number), zone)

    def person(self, phone: str, zone: str) -> list[str]:
        chance = self._chance
        self._next_appointment += 1 + chance.below(9)
        first, last = chance.pick(FIRST_NAMES), chance.pick(LAST_NAMES)
        if chance.below(40) == 0:
            last += chance.pick([", Jr.", ", PhD", "-" + chance.pick(LAST_NAMES)])
        if chance.below(60) == 0:
            first = f'{first} "{first[:2]}"'
        return [
            f"A-{self._next_appointment}",
            first,
            last,
            phone,
            chance.pick(CLINICS),
            self._time(),
            "" if chance.below(12) == 0 else zone,
            chance.pick(NOTES) if chance.below(8) == 0 else "",
        ]

    def american(self) -> str:
        """A new number of the United States in E.164."""
        return self._fresh(lambda: f"+1{self._chance.pick(list(AREAS))}55501{self._chance.below(100):02}")

    def written(self, number: str) -> str:
        """The number in one of the ways in which people and programs write it."""
        chance, rest = self._chance, number[1:]
        if not number.startswith("+1"):
            international = phonenumbers.format_number(
                phonenumbers.parse(number), phonenumbers.PhoneNumberFormat.INTERNATIONAL
            )
            return chance.pick(
                [
                    number,
                    international,
                    international,
                    "00" + rest,
                    f"tel:{number}",
                    f"00 {international[1:]}",
                ]
            )
        area, line = number[2:5], number[8:]
        local = f"555-{line}"
        full_width = "".join(chr(ord(c) + 0xFEE0) for c in f"{area}555{line}")
        plain = [number, number, number, rest, number[2:], f"({area}) {local}", f"({area}) {local}"]
        plain += [f"{area}-{local}", f"{area}-{local}", f"{area}.555.{line}", f"+1 {area} 555 {line}"]
        odd = [
            f"tel:+1-{area}-{local}",
            f"'{number}",
            f"\u202a{number}\u202c",
            f"+1\u00a0{area}\u00a0555\u00a0{line}",
        ]
        odd += [
            full_width,
            f" {area} 555 {line} ",
            f"{area}\u2013555\u2013{line}",
            f"00{rest}",
            f"\u200b{number}",
        ]
        return chance.pick(plain if chance.below(5) else odd)

    def _number(self) -> tuple[str, str]:
        if self._chance.below(8):
            number = self.american()
            return AREAS[number[2:5]], number
        if self._mobiles and self._chance.below(10) == 0:
            return "Australia/Sydney", self._mobiles.pop()

        zone, head, digits, low, high = self._chance.pick(ABROAD)
        return zone, self._fresh(lambda: f"{head}{low + self._chance.below(high - low + 1):0{digits}}")

    def _fresh(self, draw: Callable[[], str]) -> str:
        # From 88 on the sandbox's test numbers stand for faults and long talks; this is an ordinary list.
        while (number := draw()) in self._numbers or int(number[-2:]) >= 88:
            pass
        self._numbers.add(number)
        if not phonenumbers.is_valid_number(phonenumbers.parse(number)):
            raise AssertionError(f"{number} is no valid number")
        return number

    def _time(self) -> str:
        day = FIRST_DAY + datetime.timedelta(days=self._chance.below(28))
        day += datetime.timedelta(days=max(0, day.weekday() - 4) and 7 - day.weekday())  # no weekends
        hour, minute = 8 + self._chance.below(10), 10 * self._chance.below(6)
        weekday = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"][day.weekday()]
        month = ["March", "April"][day.month - 3]
        return (
            f"{weekday}, {month} {day.day}, {(hour - 1) % 12 + 1}:{minute:02} {'AM' if hour < 12 else 'PM'}"
        )


AREAS = {area: zone for zone, areas in US_ZONES.items() for area in areas.split()}


def bad_rows(people: People) -> list[list[str]]:
    """One or more rows of everything that lists have wrong with them."""

    def bare() -> str:
        return people.american()[2:]

    cells = ["1.4155E+10", "1.212556E+10", "1,7185E+10"]  # a narrow column in a spreadsheet
    cells += [f"1{bare()}.0" for _ in range(3)]  # a column of numbers with gaps, through pandas
    cells += [f"{bare()} x204", f"{bare()} ext. 12", f"tel:+1{bare()};ext=9"]
    cells += [f"{bare()} / {bare()}", f"{bare()}, {bare()}", f"{bare()} or {bare()}"]
    cells += ["", "", "   ", "1-800-FLOWERS", "ask reception", bare()[:7], bare() + "7", "+1 055 555 0123"]
    rows = [people.person(cell, "America/Chicago") for cell in cells]

    torn, torn_early, unquoted, shifted, no_key, blank_key, long_key, zone = (people.good() for _ in range(8))
    no_key[0], blank_key[0], long_key[0], zone[6] = "", "  ", "A-" + "0" * 300, "Eastern Time"
    rows += [
        torn[:5],
        torn_early[:1],
        [*unquoted[:4], "Sunnyvale", " East Wing", *unquoted[5:]],
        [*shifted, "x"],
    ]
    return [*rows, no_key, blank_key, long_key, zone, [""] * len(HEADER)]


def clinic_list() -> str:
    """The text of the whole file."""
    chance = Chance(555_0100)
    people = People(chance)
    bad = bad_rows(people)
    rows = [people.good() for _ in range(ROWS - DUPLICATES - len(bad))]
    for _ in range(DUPLICATES):
        place = chance.below(len(rows) - 50)
        again = list(rows[place])
        if chance.below(2):
            again[7] = "entered twice"
        rows.insert(place + 1 + chance.below(50), again)
    for row in bad:
        rows.insert(chance.below(len(rows)), row)
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([HEADER, *rows])
    return text.getvalue()


def main() -> None:
    """Write the list, or compare it."""
    parser = argparse.ArgumentParser(description="Write clinic-reminders.csv anew.")
    parser.add_argument("--check", action="store_true", help="only compare it with what would be written")
    wanted = clinic_list().encode()
    if not parser.parse_args().check:
        LIST.write_bytes(wanted)
    elif not LIST.exists() or LIST.read_bytes() != wanted:
        sys.exit(f"{LIST}: is not what {Path(__file__).name} writes; run it without --check")


if __name__ == "__main__":
    main()
