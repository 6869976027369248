"""What does one row of a list cost, from the file to a recipient who is ready for the ledger?

    python bench/rows.py [--rows 20000] [--rounds 3]

Lists of so many rows: a telephone number, as people of a country write it, and three attributes; 2 % that
nobody can call, 3 % that stand further up already. Each is read by two programs in turns, in this process:

- `peer`: what one would write in an afternoon: csv.DictReader; phonenumbers' parse, is_valid_number and
  format_number; its time zones; a dict for each row;
- `dialer`: what `dialer load` does with each row before the ledger has it: encoding, delimiter and columns
  are found out, the number is read and checked, then zones, attributes and calling hours; bad rows go to the
  rejects file.

Prints a table in Markdown, in microseconds of CPU time a row: of each program its fastest round. The ratio is
of these two.
"""

import argparse
import csv
import random
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import phonenumbers
from _office import markdown
from phonenumbers.timezone import time_zones_for_number

from campaigns.call_list import open_call_list
from campaigns.campaign import Campaign
from campaigns.reading import read_chunks

GUID = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOURS = {"weekdays": "09:00-20:00", "saturday": "10:00-16:00"}
AREAS = [
    area
    for area in range(201, 990)
    if phonenumbers.is_valid_number(phonenumbers.PhoneNumber(1, area * 10**7 + 5550100))
]
BAD = ("", "n/a", "+1415555", "1.4155E+10", "(415) 555-0100 ext. 12")


def written(region: str, chance: random.Random) -> str:
    """A number as people of a country write it, `+1` and `US` being two habits of one country."""

    def digits(count: int) -> str:
        return f"{chance.randrange(10**count):0{count}}"

    exchange = chance.randrange(200, 990)
    match region:
        case "+1":
            return f"+1{chance.choice(AREAS)}{exchange}{digits(4)}"
        case "US":
            return f"({chance.choice(AREAS)}) {exchange}-{digits(4)}"
        case "DE":
            mobile, fixed = f"151 2{digits(7)}", f"30 2{digits(7)}"
            return chance.choice(("+49 ", "0")) + chance.choice((mobile, fixed))
        case "GB":
            return chance.choice((f"020 7946 {digits(4)}", f"07400 {digits(6)}", f"+44 20 7946 {digits(4)}"))
        case "BR":
            mobile = f"9{chance.randrange(6000, 9999)}-{digits(4)}"
            return chance.choice((f"(11) {mobile}", f"+55 21 {mobile}"))
        case _:
            return chance.choice((f"98{digits(8)}", f"+91 98{digits(3)} {digits(5)}", f"098{digits(8)}"))


def write_list(path: Path, region: str, rows: int) -> None:
    """2 % bad, 3 % twice."""
    chance = random.Random(1)
    numbers: list[str] = []
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["phone", "first_name", "city", "appointment_at"])
        for row in range(rows):
            kind = chance.random()
            if kind < 0.02:
                number = chance.choice(BAD)
            elif kind < 0.05 and numbers:
                number = chance.choice(numbers)
            else:
                number = written(region, chance)
                numbers.append(number)
            writer.writerow([number, f"Ana {row}", "Springfield", "2026-12-01 14:30"])


def peer(path: Path, region: str | None) -> int:
    """How many recipients there are."""
    found = 0
    with path.open(newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            try:
                number = phonenumbers.parse(row["phone"], region)
            except phonenumbers.NumberParseException:
                continue
            if phonenumbers.is_valid_number(number):
                phone = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
                zones = time_zones_for_number(number)
                person = {"phone": phone, "zones": zones, "attributes": row}
                found += bool(person)
    return found


def dialer(path: Path, region: str | None, hours: bool) -> int:
    """How many recipients there are."""
    columns = {"default_region": region, "attributes": ["first_name", "city", "appointment_at"]}
    connect = {"instance_id": GUID, "contact_flow_id": GUID, "queue_id": GUID}
    given = {"name": "bench", "connect": connect, "list": columns}
    campaign = Campaign.model_validate(given | ({"calling_hours": HOURS} if hours else {}))
    with open_call_list(path, campaign.list) as call_list:
        return sum(chunk.batch.accepted for chunk in read_chunks(call_list, campaign, NOW))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()

    rows: int = given.rows

    def cost(work: Callable[[], int]) -> float:
        began = time.process_time()
        work()
        return (time.process_time() - began) * 1e6 / rows

    print(markdown("list", "for instance", "peer, µs", "dialer, µs", "with calling hours, µs", "ratio"))
    print(markdown("---", "---", "---:", "---:", "---:", "---:"))
    with tempfile.TemporaryDirectory(prefix="dialer-bench-") as folder:
        for name in ("+1", "US", "DE", "GB", "BR", "IN"):
            path = Path(folder) / "list.csv"
            write_list(path, name, rows)
            region = None if name == "+1" else name
            rounds = [
                (
                    cost(lambda: peer(path, region)),  # noqa: B023  # called at once
                    cost(lambda: dialer(path, region, hours=False)),  # noqa: B023
                    cost(lambda: dialer(path, region, hours=True)),  # noqa: B023
                )
                for _ in range(given.rounds)
            ]
            plain, ours, timed = (min(each) for each in zip(*rounds, strict=True))
            example = written(name, random.Random(2))
            print(
                markdown(name, example, f"{plain:.1f}", f"{ours:.1f}", f"{timed:.1f}", f"{plain / timed:.1f}")
            )


if __name__ == "__main__":
    main()
