"""People as a list that was read has them."""

from collections.abc import Iterable, Iterator
from itertools import groupby, islice

from campaigns.ledger.staging import Batch
from campaigns.recipient import Recipient


def laid_out(people: Iterable[Recipient], rejected: int = 0) -> Iterator[Batch]:
    """People as `put_list` takes them. Those of one line who are told apart by a reminder are one row."""
    yield Batch(rejected=rejected)
    rows = groupby(people, key=lambda each: each.line if each.reminder else (each.line, id(each)))
    while True:
        batch = Batch()
        for _, row in islice(rows, 1_000):
            batch.accept(list(row))
        if not batch.accepted:
            return
        yield batch
