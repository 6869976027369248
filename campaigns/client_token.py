"""The client token: the name of one attempt, for ever."""

import hmac
from dataclasses import dataclass, field
from hashlib import sha256

_VERSION = b"connect-batch-dialer/1 "


def client_token(
    campaign: str, run: int, recipient_key: str, attempt: int, secret: bytes | None = None
) -> str:
    """Name one attempt for Connect's idempotency check.

    The same values give the same token on every machine and in every version, so a request that is
    sent again carries the token it carried before. Runs and attempts count from 1.

    Returns 64 hexadecimal digits (Connect allows 500 characters). The recipient key, which by default is
    the telephone number, is not readable in them. Without a secret it can be recovered by trying all numbers
    of an area code, which takes seconds; with one (HMAC-SHA256) it cannot without the secret.
    """
    # Lengths in front keep ("a", "bc") and ("ab", "c") apart, whatever characters a name holds.
    parts = (campaign, str(run), recipient_key, str(attempt))
    named = _VERSION + "".join(f"{len(part)}:{part}" for part in parts).encode()
    if secret is None:
        return sha256(named).hexdigest()
    return hmac.digest(secret, named, "sha256").hex()


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one installation: all of them with its secret, or all of them without."""

    # No representation of this, in a log or a traceback, shows the secret.
    secret: bytes | None = field(default=None, repr=False)
    """DIALER_TOKEN_SECRET in UTF-8; None: not set."""

    def of(self, campaign: str, run: int, recipient_key: str, attempt: int) -> str:
        """Return the token of one attempt."""
        return client_token(campaign, run, recipient_key, attempt, self.secret)


WITHOUT_SECRET = Tokens()
"""Where DIALER_TOKEN_SECRET is not set."""
