"""Which side dials a campaign: decided by an operator's command, once, before anything can be claimed.

A race must not decide it. If the first claim did, the workers of the other side could be faster, and a trial
would ring for real.
"""

from sqlalchemy import Connection, select, update

from campaigns.ledger.rehearsal import refuse_real_runs
from campaigns.ledger.tables import campaigns, runs
from campaigns.mistake import Mistake
from campaigns.side import Exchange


def decide(db: Connection, campaign_id: int, exchange: Exchange) -> None:
    """Bind a campaign and its undecided runs to a side, in the caller's transaction.

    What is decided stays so for ever. Raises Mistake if the campaign belongs to the other side, and for real
    calls in a rehearsal's ledger.
    """
    if exchange == "connect":
        refuse_real_runs(db)
    # Locked until the end of the transaction: of two commands that decide at once, the second sees what the
    # first has decided. First the campaign and then its runs, as a fire takes them.
    this = select(campaigns.c.name, campaigns.c.exchange).where(campaigns.c.id == campaign_id)
    campaign = db.execute(this.with_for_update(key_share=True)).one()
    check(campaign.name, campaign.exchange, exchange)
    if campaign.exchange is None:
        db.execute(update(campaigns).where(campaigns.c.id == campaign_id).values(exchange=exchange))
    # The finished ones too: a requeue lets them go on.
    undecided = (runs.c.campaign_id == campaign_id) & runs.c.exchange.is_(None)
    db.execute(update(runs).where(undecided).values(exchange=exchange))


def decided(db: Connection, name: str) -> str | None:
    """The side of the campaign of this name; None if it is not decided, or there is no such campaign."""
    return db.execute(select(campaigns.c.exchange).where(campaigns.c.name == name)).scalar()


def check(name: str, decided: str | None, exchange: Exchange) -> None:
    """Raise Mistake if a campaign belongs to the other side than this one."""
    if decided in (None, exchange):
        return
    if decided == "sandbox":
        raise Mistake(
            f"{name} was begun in the sandbox and can only go on there: run it with --sandbox, or give the "
            "campaign file another name; for real calls under this one, end the trial (dialer cancel "
            f"{name}) and dial the list with dialer run, or throw the trial away (dialer discard {name}) and "
            "load the list again"
        )
    raise Mistake(
        f"{name} was begun through Amazon Connect and can only go on there: run it without --sandbox or "
        "DIALER_EXCHANGE=sandbox, or give the campaign file another name; a trial of this file can have a "
        "ledger of its own (DIALER_DATA_DIR)"
    )
