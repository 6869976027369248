"""The client token: one name per attempt, the same for ever."""

from hypothesis import given
from hypothesis import strategies as st

from campaigns.client_token import client_token

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
