from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import text

from campaigns.attempt import AttemptState
from campaigns.ledger.figures import figures
from campaigns.ledger.stories import campaigns_with, records, records_in_doubt

if TYPE_CHECKING:
    from tests.conftest import Desk


def test_nothing_is_read_from_end_to_end(desk: "Desk", plans: Callable[..., list[str]]) -> None:
    """One recipient among many, those in doubt, and the count of those, are found by indexes."""
    desk.load(desk.campaign(), desk.people(3_000))
    desk.start()
    for claimed in desk.claim(2_000)[:20]:
        desk.bring(claimed, AttemptState.UNKNOWN)
    with desk.ledger.write() as db:
        db.execute(text("ANALYZE"))
    run_id = desk.run().id

    def read() -> None:
        with desk.ledger.read() as db:
            assert len(records(db, run_id, key="key-7", phone="+14150000008")) == 2
            assert len(records_in_doubt(db, run_id)) == 20
            assert campaigns_with(db, "+14150000009") == ["reminders"]

    def count() -> None:
        with desk.ledger.read() as db:
            assert figures(db, run_id, desk.noon).unknowns.searched == 20

    (unknowns,) = [plan for plan in plans(desk.ledger, count) if "settle_at" in plan]
    ends = ("SCAN recipients", "SCAN attempts", "Seq Scan on recipients", "Seq Scan on attempts")
    # However many there are that nobody searches for any more.
    assert "ix_attempts_settle" in unknowns
    for plan in (*plans(desk.ledger, read), unknowns):
        assert not any(end in plan for end in ends), plan
