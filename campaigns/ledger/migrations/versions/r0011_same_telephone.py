"""The suppression list has each telephone with all its numbers, and who has put it there."""

import re
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0009"

# As they were known when this was written (campaigns/same_telephone.py): a family's numbers, and their forms.
_FAMILIES = (
    (r"\+521?(\d{10})", (r"+52\1", r"+521\1")),
    (r"\+549?([1-3]\d{9})", (r"+54\1", r"+549\1")),
    (r"\+55([1-9]\d)9?([6-9]\d{7})", (r"+55\g<1>\2", r"+55\g<1>9\2")),
    (r"\+97[02](5[69]\d{7}|[2489]2\d{6})", (r"+970\1", r"+972\1")),
    (r"\+(?:378(?:0549)?|390549)([89]\d{5})", (r"+3780549\1", r"+378\1", r"+390549\1")),
    (r"\+(?:4428|35348)(\d{8})", (r"+4428\1", r"+35348\1")),
    (r"\+(?:33|262)((?:262|269|639|69[23])\d{6})", (r"+262\1", r"+33\1")),
    (r"\+(?:33|590)((?:590|69[01])\d{6})", (r"+590\1", r"+33\1")),
    (r"\+(?:33|594)((?:594|694)\d{6})", (r"+594\1", r"+33\1")),
    (r"\+(?:33|596)((?:596|69[67])\d{6})", (r"+596\1", r"+33\1")),
)
_BEGINNINGS = ("+262", "+33", "+353", "+378", "+39", "+44", "+52", "+54", "+55", "+59", "+97")
_PAGE = 5_000  # rows held in memory at once

_ENTER = """
    INSERT INTO suppressions (phone, campaign_id, reason, added_at)
    VALUES (:phone, :campaign_id, :reason, :at) ON CONFLICT DO NOTHING
"""
_TELL = """
    INSERT INTO suppression_history (phone, campaign_id, what, reason, at)
    VALUES (:phone, :campaign_id, 'added', :reason, :at)
"""


def upgrade() -> None:
    op.add_column("suppressions", sa.Column("source", sa.String(20)))
    for beginning in _BEGINNINGS:
        _complete(op.get_bind(), beginning)


def _complete(db: Any, beginning: str) -> None:
    """Add the other forms of all numbers that begin so.

    A recipient who waits with one of them is suppressed by the move to `dialing`.
    """
    page = sa.text(
        "SELECT phone, campaign_id, reason, added_at AS at FROM suppressions "
        "WHERE phone LIKE :these "
        "AND (phone > :phone OR phone = :phone AND campaign_id > :campaign_id) "
        "ORDER BY phone, campaign_id LIMIT :limit"
    )
    last: dict[str, Any] = {"phone": "", "campaign_id": -1}
    while True:
        these = {"these": f"{beginning}%", "limit": _PAGE, **last}
        rows = db.execute(page, these).mappings().all()
        for row in rows:
            for phone in _other_forms(row["phone"]):
                if db.execute(sa.text(_ENTER), {**row, "phone": phone}).rowcount:
                    db.execute(sa.text(_TELL), {**row, "phone": phone})
        if len(rows) < _PAGE:
            return
        last = {"phone": rows[-1]["phone"], "campaign_id": rows[-1]["campaign_id"]}


def _other_forms(phone: str) -> list[str]:
    for pattern, forms in _FAMILIES:
        if found := re.fullmatch(pattern, phone):
            return [form for form in map(found.expand, forms) if form != phone]
    return []
