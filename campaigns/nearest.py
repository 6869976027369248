"""What a misspelt name may have been meant to be, for the hint in a message."""

import difflib
from collections.abc import Iterable
from itertools import islice

_LONGEST = 100
"""Characters of a word that is compared: the time grows with the square, and no setting or name is longer."""
_MOST = 2_000
"""Words that are looked at."""


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known word that is most like this one; None if none is, or if it is too long for a name."""
    if len(word) > _LONGEST:
        return None
    near = difflib.get_close_matches(
        word, [each for each in islice(known, _MOST) if len(each) <= _LONGEST], n=1, cutoff=cutoff
    )
    return near[0] if near else None
