"""The client token: one name per attempt, the same for ever."""

import hmac
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from campaigns.client_token import WITHOUT_SECRET, Tokens, client_token

Attempt = tuple[str, int, str, int]
attempts = st.tuples(st.text(max_size=20), st.integers(1, 10**6), st.text(max_size=20), st.integers(1, 100))


def test_token_never_changes() -> None:
    """A request sent again after an upgrade must carry its old token, so this one is pinned."""
    expected = "4efbd299d1e84603b682613b7c02754bd3192103fc3fbab195ce04e560ab0039"
    assert client_token("clinic-reminders", 1, "+14155550100", 1) == expected


@given(one=attempts, other=attempts)
def test_different_attempts_have_different_tokens(one: Attempt, other: Attempt) -> None:
    """Two attempts share a token only if they are the same attempt."""
    assert (client_token(*one) == client_token(*other)) is (one == other)


def test_parts_do_not_run_into_each_other() -> None:
    """Moving a character from one part to the next makes another attempt."""
    tokens = {
        client_token("a", 1, "bc", 1),
        client_token("ab", 1, "c", 1),
        client_token("a", 11, "bc", 1),
        client_token("a", 1, "1bc", 1),
        client_token("a", 1, "bc1", 1),
        client_token("a", 1, "bc", 11),
        client_token("a1:", 1, "bc", 1),
        client_token("", 1, "abc", 1),
    }
    assert len(tokens) == 8


@given(attempt=attempts)
def test_connect_accepts_every_token(attempt: Attempt) -> None:
    """64 hexadecimal digits, well below Connect's 500 characters, whatever a key is made of."""
    token = client_token(*attempt)
    assert len(token) == 64
    assert set(token) <= set("0123456789abcdef")


def test_number_cannot_be_read_in_the_token() -> None:
    """Tokens reach logs and AWS's records, and the key is a telephone number by default."""
    token = client_token("c", 1, "+14155550100", 1)
    assert "4155550100" not in token


SECRET = b"correct horse battery staple"


def test_keyed_token_never_changes() -> None:
    """With a secret the token is pinned, too: HMAC-SHA256 of the same text."""
    text = b"connect-batch-dialer/1 16:clinic-reminders1:112:+141555501001:1"
    expected = "6fcaf80a1ff08cad6bdcd2ded63cc06de4748039602a4a4c3ca2d3b3f3530cd7"
    assert hmac.new(SECRET, text, "sha256").hexdigest() == expected
    assert client_token("clinic-reminders", 1, "+14155550100", 1, SECRET) == expected
    assert sha256(text).hexdigest() == client_token("clinic-reminders", 1, "+14155550100", 1)


@given(one=attempts, other=attempts, secret=st.binary(min_size=16, max_size=80))
def test_secret_decides_the_token(one: Attempt, other: Attempt, secret: bytes) -> None:
    """One secret names an attempt always the same; another secret, or none, names it otherwise."""
    keyed = Tokens(secret).of(*one)
    assert len(keyed) == 64
    assert set(keyed) <= set("0123456789abcdef")
    assert (keyed == Tokens(secret).of(*other)) is (one == other)
    assert keyed not in (Tokens(secret + b"x").of(*one), WITHOUT_SECRET.of(*one))
    assert WITHOUT_SECRET.of(*one) == client_token(*one)


def test_number_is_found_by_trying_only_without_a_secret() -> None:
    """Why the secret: the numbers of an exchange are ten thousand, and each has one plain token."""
    phone = "+14155550142"
    tried = {client_token("c", 1, f"+1415555{n:04d}", 1): f"+1415555{n:04d}" for n in range(10_000)}
    assert tried[WITHOUT_SECRET.of("c", 1, phone, 1)] == phone
    assert Tokens(SECRET).of("c", 1, phone, 1) not in tried


def test_secret_is_not_shown() -> None:
    """What is logged of the program's parts does not hold the secret."""
    assert "horse" not in repr(Tokens(SECRET)) + str(Tokens(SECRET))
