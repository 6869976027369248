"""A list without a key column may have one telephone under two numbers: one recipient, who rings once.

The number is the key there, and campaigns/same_telephone.py says which numbers are one telephone's. The
recipient keeps the key that came first, in the ledger or on the list; the number itself may change, as any
row may. Keys are rewritten in the staged list before it is compared with anything.
"""

from sqlalchemy import Connection, text

from campaigns.ledger.preparation import create_temporary
from campaigns.ledger.staging import index_keys

_ANY = "SELECT EXISTS (SELECT 1 FROM staging WHERE other_key IS NOT NULL)"

_UNITED = "CREATE TEMPORARY TABLE united (was TEXT PRIMARY KEY, becomes TEXT NOT NULL)"

# Whose own key is in the ledger stays with it, also where an earlier version has entered both numbers.
_KNOWN = """
    INSERT INTO united
    SELECT was, becomes FROM (
        SELECT own.key AS was, (
            SELECT min(r.key) FROM recipients AS r
            WHERE r.run_id = :run_id AND r.key IN (own.other_key, own.third_key)
        ) AS becomes
        FROM (SELECT DISTINCT key, other_key, third_key FROM staging WHERE other_key IS NOT NULL) AS own
        WHERE NOT EXISTS (SELECT 1 FROM recipients AS r WHERE r.run_id = :run_id AND r.key = own.key)
    ) AS found
    WHERE becomes IS NOT NULL
"""

# Of those that the ledger has under no number, the first line wins, as among equal keys.
_TWICE = """
    INSERT INTO united
    SELECT was, becomes FROM (
        SELECT own.key AS was, (
            SELECT first.key FROM staging AS first
            WHERE first.key IN (own.key, own.other_key, own.third_key) ORDER BY first.line LIMIT 1
        ) AS becomes
        FROM (SELECT DISTINCT key, other_key, third_key FROM staging WHERE other_key IS NOT NULL) AS own
        WHERE NOT EXISTS (SELECT 1 FROM united WHERE united.was = own.key)
        AND NOT EXISTS (SELECT 1 FROM recipients AS r WHERE r.run_id = :run_id AND r.key = own.key)
    ) AS found
    WHERE becomes <> was
"""

_REWRITE = """
    UPDATE staging SET key = united.becomes, enter_as = united.becomes
    FROM united WHERE united.was = staging.key
"""


def unite(db: Connection, run_id: int) -> None:
    """Give the staged rows of one telephone one key, in the transaction in which they are entered."""
    if not db.execute(text(_ANY)).scalar_one():
        return
    index_keys(db)
    if db.dialect.name == "postgresql":
        db.execute(text("ANALYZE staging"))
    create_temporary(db, _UNITED)
    for statement in (_KNOWN, _TWICE):
        db.execute(text(statement), {"run_id": run_id})
    db.execute(text(_REWRITE))
