"""A call that Connect lists and the ledger does not know: whose can it be?"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from campaigns.connect_options import ConnectOptions

CLOCK_SKEW = timedelta(minutes=5)
"""Maximum clock skew between AWS and the ledger.

AWS refuses a request whose clock is further off (its signature counts as expired). So the time that Connect
gives a call lies within this of the time that the ledger's clock showed.
"""

_TOKEN = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


def tokens_in(texts: Iterable[str]) -> frozenset[str]:
    """All that looks like a client token in these texts."""
    return frozenset(token for text in texts for token in _TOKEN.findall(text))


@dataclass(frozen=True, slots=True)
class Sending:
    """One attempt's request: what it carries, and when it may have left by the ledger's clock."""

    attempt_id: int
    fence: int
    state: str
    client_token: str
    phone: str
    earliest: datetime
    latest: datetime
    connect: ConnectOptions


@dataclass(frozen=True)
class Stranger:
    """A call that Connect lists and the ledger does not know."""

    contact_id: str
    initiated_at: datetime
    """By AWS's clock."""
    phone: str | None = None
    """E.164; None where Connect does not say, or was not asked because the name says enough."""
    attributes: Mapping[str, str] | None = None
    name: str | None = None

    @cached_property
    def tokens(self) -> frozenset[str]:
        """The client tokens that it shows, wherever it does."""
        return tokens_in([*(self.attributes or {}).values(), self.name or ""])

    def may_be(self, sending: Sending) -> bool:
        """Whether this can be the attempt's call: by its token, or else by its number and time."""
        if sending.client_token in self.tokens:
            return True
        if self.shows_a_token(sending.connect):
            return False
        return (
            self.phone == sending.phone
            and sending.earliest - CLOCK_SKEW <= self.initiated_at <= sending.latest + CLOCK_SKEW
        )

    def shows_a_token(self, connect: ConnectOptions) -> bool:
        """Whether a token, of whichever attempt, stands where this campaign's calls carry theirs.

        Something else there says nothing: the campaign may have been edited since the call.
        """
        value = (self.attributes or {}).get(connect.search_attribute or "", "")
        named = self.name if connect.token_in_name and self.name else ""
        return bool(tokens_in([value, named]))


def candidates(stranger: Stranger, sendings: Iterable[Sending]) -> list[Sending]:
    """The attempts that can have made this call, of all that might have made one.

    A call with an attempt's token is that attempt's, and no other's. Of several without, any may be it: such
    a call decides nothing.
    """
    these = [sending for sending in sendings if stranger.may_be(sending)]
    return [each for each in these if each.client_token in stranger.tokens] or these


def distance(stranger: Stranger, sending: Sending) -> timedelta:
    """How far apart in time they are."""
    return abs(stranger.initiated_at - sending.earliest)
