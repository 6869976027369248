import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import JSON, select, text

from campaigns.ledger import Ledger, LedgerUnavailable
from campaigns.ledger.staging import Batch, as_json, stage
from campaigns.ledger.tables import recipients
from campaigns.recipient import Recipient

if TYPE_CHECKING:
    from tests.conftest import Desk

OTHERS = "FROM pg_stat_activity WHERE application_name = 'dialer' AND datname = current_database()"


@given(st.dictionaries(st.text(), st.text()))
def test_the_texts_are_those_of_json(cells: dict[str, str]) -> None:
    """What stands in the ledger is, to the letter, what json.dumps makes of the cells."""
    assert as_json(cells) == json.dumps(cells, ensure_ascii=False)


@pytest.mark.parametrize("cells", [{}, {"": ""}, {'"\\/\b\f\n\r\t\x00\x1f\x7f': "\u2028é東🎉\ud800"}])
def test_awkward_texts_are_those_of_json(cells: dict[str, str]) -> None:
    """Quotes, controls, other alphabets and halves of characters are written as json.dumps writes them."""
    assert as_json(cells) == json.dumps(cells, ensure_ascii=False)


def test_everything_of_a_recipient_is_staged(desk: "Desk") -> None:
    """Whatever text the cells hold, tabs, backslashes and the driver's own signs too, arrives as it was."""
    odd = "\\N\t\\.\n\r\\\\ 'Zoë' \"東京\" {} \x01\x7f"
    later = {"appointment_at": desk.noon, "due_at": desk.noon, "expires_at": desk.noon}
    plain = replace(desk.people(1)[0], key=odd, attributes={odd: odd}, row={odd: odd, "": ""})
    dated = replace(plain, line=3, time_zone="Asia/Tokyo", zones="Asia/Tokyo", reminder="24h", **later)
    with desk.ledger.connection() as db:
        db.detach()
        batch = Batch(rejected=1, appointments=[(4, odd, desk.noon)])
        batch.accept([plain])
        batch.accept([dated])
        assert stage(db, [batch]) == (2, 1)
        with db.begin():
            query = text("SELECT * FROM staging ORDER BY line")
            rows = [dict(row._mapping) for row in db.execute(query.columns(attributes=JSON, row=JSON))]
    nothing = dict.fromkeys(rows[0])
    noon = 1_772_452_800_000_000
    cells = {"attributes": {odd: odd}, "row": {odd: odd, "": ""}}
    person = nothing | cells | {"key": odd, "phone": plain.phone, "enter_as": odd}
    times = {"appointment_at": noon, "due_at": noon, "expires_at": noon, "reminder": "24h"}
    zones = {"time_zone": "Asia/Tokyo", "zones": "Asia/Tokyo"}
    keys = {"list_key": odd, "dated_key": f"{odd} 2026-03-02T12:00:00Z"}
    rejected = {"key": "", "phone": "", "list_key": odd, "appointment_at": noon, "attributes": {}, "row": {}}
    assert rows == [
        person | {"line": 2, "due_at": 0},
        person | {"line": 3} | times | zones | keys,
        nothing | rejected | {"line": 4, "due_at": 0},
    ]


def test_no_transaction_is_open_while_the_list_is_read(
    desk_of: "type[Desk]", postgres_ledger: Ledger, postgres_ledger_url: str
) -> None:
    """However slowly a list is read, PostgreSQL can clean up behind the calls that are made meanwhile."""
    desk, seen = desk_of(postgres_ledger), []
    with closing(psycopg.connect(bare(postgres_ledger_url), autocommit=True)) as watcher:

        def people() -> Iterator[Recipient]:
            for person in desk.people(4_100):
                if person.line % 1_000 == 0:
                    seen.extend(watcher.execute(f"SELECT state, backend_xmin {OTHERS}").fetchall())
                yield person

        assert desk.load(desk.campaign(), people()).accepted == 4_100
    assert set(seen) == {("idle", None)}


def test_a_ledger_that_goes_away_under_a_load_is_said_in_one_line(
    desk_of: "type[Desk]", postgres_ledger: Ledger, postgres_ledger_url: str
) -> None:
    """A server that is restarted in the middle is a ledger that does not answer, and nothing was entered."""
    desk = desk_of(postgres_ledger)
    with closing(psycopg.connect(bare(postgres_ledger_url), autocommit=True)) as operator:

        def people() -> Iterator[Recipient]:
            for person in desk.people(5_000):
                if person.line == 2_500:
                    operator.execute(f"SELECT pg_terminate_backend(pid, 5000) {OTHERS}")
                yield person

        with pytest.raises(LedgerUnavailable, match=r"^the ledger's database does not answer: .+\Z"):
            desk.load(desk.campaign(), people())
    assert desk.load(desk.campaign(), desk.people(10)).accepted == 10


def test_a_list_does_not_correct_itself(desk: "Desk") -> None:
    """Of rows with one key the first has its say, in the list that enters them as in any list after it."""
    (one,) = desk.people(1)
    berlin = replace(one, time_zone="Europe/Berlin", zones="Europe/Berlin")
    tokyo = replace(one, line=3, time_zone="Asia/Tokyo", zones="Asia/Tokyo")
    for accepted in (1, 0):
        loaded = desk.load(desk.campaign(), [berlin, tokyo])
        assert (loaded.accepted, loaded.duplicates, loaded.other_zones) == (accepted, 2 - accepted, 0)
        assert [row.time_zone for row in desk.recipients()] == ["Europe/Berlin"]
    loaded = desk.load(desk.campaign(), [replace(tokyo, line=2), replace(berlin, line=3)])
    assert (loaded.accepted, loaded.duplicates, loaded.other_zones) == (0, 2, 1)
    assert [row.time_zone for row in desk.recipients()] == ["Asia/Tokyo"]


def test_people_have_their_ids_in_the_order_of_the_list(desk: "Desk") -> None:
    """Whoever stands further up has the lower id, in whatever order their keys and numbers are."""
    people = desk.people(6_000)
    shuffled = [replace(person, key=f"{person.line * 7_919 % 6_007}") for person in people]
    desk.load(desk.campaign(), shuffled)
    with desk.ledger.read() as db:
        lines = db.execute(select(recipients.c.line).order_by(recipients.c.id)).scalars().all()
    assert list(lines) == list(range(2, 6_002))


def bare(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://")
