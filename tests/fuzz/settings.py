"""Settings: one variable or several with values by chance, alone and together."""

import os
import random
from pathlib import Path
from unittest import mock

from campaigns.mistake import Mistake
from campaigns.settings import load_settings
from tests.fuzz.pieces import NUMBERS, check_words, text
from worker.settings import DialerSettings

_URLS = ("database_url", "redis_url", "events_queue_url")
"""Their words are checked where they are used (test_engine.py, test_app.py)."""


def one(chance: random.Random, folder: Path) -> None:
    """They are taken, and everything that is worked out from them is; or they are refused in one line."""
    names = [name for name in DialerSettings.model_fields if name not in _URLS]
    given = {}
    for name in chance.sample(names, chance.randrange(1, 5)):
        value = chance.choice(NUMBERS) if chance.random() < 0.6 else text(chance)
        # No environment takes these.
        value = value.replace("\0", "").replace("\ud800", "\udc80")
        given[f"DIALER_{name.upper()}"] = value
    with mock.patch.dict(os.environ, given):
        try:
            settings = load_settings(DialerSettings)
            assert settings.lease.total_seconds() > settings.read_timeout_seconds
            assert settings.send_within_seconds > 0
            assert settings.call_limit.longest.total_seconds() > 0
            assert all((settings.ledger_url, settings.redis, settings.dial_queue))
        except Mistake as mistake:
            check_words(mistake)
