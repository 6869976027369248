"""The suppression list: numbers that are never called, by any campaign or by one."""

from typing import Any

from sqlalchemy import exists, literal_column, or_, select

from campaigns.ledger.tables import EVERY_CAMPAIGN, recipients, runs, suppressions

campaign_of_recipient = (
    select(runs.c.campaign_id).where(runs.c.id == recipients.c.run_id).correlate(recipients).scalar_subquery()
)
"""The campaign of a recipient, where a query has no runs."""


def suppressed(phone: Any, campaign_id: Any) -> Any:
    """The condition that a number (a column, or E.164) may not be called by a campaign."""
    for_it = or_(
        suppressions.c.campaign_id == literal_column(str(EVERY_CAMPAIGN)),
        suppressions.c.campaign_id == campaign_id,
    )
    return exists().where(suppressions.c.phone == phone, for_it)
