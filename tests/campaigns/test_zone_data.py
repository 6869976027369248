"""Which data on time zones count, and what they say of countries."""

from pathlib import Path

import pytest

from campaigns.zone_data import is_known, newer_than_machine, one_per_clock, zones_of_country


def a_machine(folder: Path, **files: str) -> Path:
    """A folder with a machine's zone data."""
    (folder / "Europe").mkdir()
    (folder / "Europe" / "London").write_bytes(b"TZif")
    for name, text in files.items():
        (folder / name.replace("_zi", ".zi").replace("VERSION", "+VERSION")).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("says", "package", "newer"),
    [
        ({"tzdata_zi": "# version 2025b\n# more\n"}, "2026f", True),
        ({"tzdata_zi": "# version 2026f\n"}, "2026f", False),
        ({"tzdata_zi": "# version 2027a\n"}, "2026f", False),
        ({"tzdata_zi": "# version 2026g-dirty\n"}, "2026f", False),
        ({"VERSION": "2027a\n"}, "2026f", False),
        ({"tzdata_zi": "# version unknown\n"}, "2026f", True),
        ({}, "2026f", True),
    ],
)
def test_the_newer_data_count(tmp_path: Path, says: dict[str, str], package: str, newer: bool) -> None:
    """The machine's are taken only if they say that they are as new as the package's."""
    assert newer_than_machine(package, [tmp_path / "none", a_machine(tmp_path, **says)]) == newer


def test_a_machine_without_data(tmp_path: Path) -> None:
    """A slim container has none: the package's count."""
    assert newer_than_machine("2026f", [tmp_path])
    assert newer_than_machine("2026f", [])


def test_zones_of_a_country() -> None:
    """As the database's table has them; none for a country that it does not have."""
    assert zones_of_country("PT") == ("Europe/Lisbon", "Atlantic/Madeira", "Atlantic/Azores")
    assert zones_of_country("XK") == ()


def test_zones_that_show_one_time_are_one() -> None:
    """The first of those that agree for years to come; one that has no summer time is another."""
    zones = ["Europe/Paris", "Europe/Berlin", "Africa/Tunis", "Africa/Algiers", "Asia/Kathmandu"]
    assert one_per_clock(zones) == {"Europe/Paris", "Africa/Tunis", "Asia/Kathmandu"}
    assert one_per_clock([]) == frozenset()


@pytest.mark.parametrize(
    "zone", ["America/Newzone", "America", "../etc/passwd", "", "/etc/localtime", "a\0b"]
)
def test_zones_that_this_machine_does_not_know(zone: str) -> None:
    """Whatever the ledger holds, it is an answer, and no error; and it is like no other zone."""
    assert not is_known(zone)
    assert is_known("America/New_York")
    assert one_per_clock([zone, "America/New_York"]) == {zone, "America/New_York"}
