"""The client token: the name of one attempt, for ever."""

from hashlib import sha256


def client_token(campaign: str, run: int, recipient_key: str, attempt: int) -> str:
    """Name one attempt for Connect's idempotency check.

    The same four values give the same token on every machine and in every version, so a request that is
    sent again carries the token it carried before. Runs and attempts count from 1.

    Returns 64 hexadecimal digits (Connect allows 500 characters). The recipient key, which by default is
    the telephone number, is not readable in them.
    """
    # Lengths in front keep ("a", "bc") and ("ab", "c") apart, whatever characters a name holds.
    parts = (campaign, str(run), recipient_key, str(attempt))
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return sha256(b"connect-batch-dialer/1 " + text.encode()).hexdigest()
