"""The ledger's URL: what it says is kept, and what is wrong in it is one line."""

from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from campaigns.ledger import open_ledger
from campaigns.ledger.engine import open_to_read
from campaigns.ledger.postgresql import login_of
from campaigns.mistake import Mistake
from tests.pooler import Pooler
from tests.still_line import StillLine

PASSWORD = "s3cr3t"
TO = f"postgresql://dialer:{PASSWORD}@localhost"


def arguments_of(url: str) -> dict[str, Any]:
    """What the driver takes for a URL."""
    return login_of(make_url(url).set(drivername="postgresql+psycopg"))


def test_a_host_that_vanishes_is_noticed_within_seconds() -> None:
    """What the kernel is told of a connection: in seconds, and tcp_user_timeout in milliseconds."""
    assert arguments_of(f"{TO}/dialer") == {
        "host": "localhost",
        "dbname": "dialer",
        "user": "dialer",
        "password": PASSWORD,
        "application_name": "dialer",
        "connect_timeout": 5,
        "keepalives": 1,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
    }


def test_what_the_url_says_counts() -> None:
    """Each parameter of the URL stays as it is, and the others are ours."""
    found = arguments_of(
        f"{TO}/dialer?tcp_user_timeout=30000&keepalives_idle=60&connect_timeout=9&sslmode=require"
    )
    asked = {
        "tcp_user_timeout": "30000",
        "keepalives_idle": "60",
        "connect_timeout": "9",
        "sslmode": "require",
    }
    assert found | asked == found
    assert found["keepalives_count"] == 3


def test_connections_are_made_with_them(postgres_ledger_url: str) -> None:
    """The URL's parameters reach the connection, and so do ours where it says nothing."""
    with closing(StillLine(postgres_ledger_url)) as line:
        url = f"{line.url}?tcp_user_timeout=7000&application_name=mine"
        with closing(open_ledger(url)) as ledger, ledger.read() as db:
            said: Any = db.connection.driver_connection
            options = {option.keyword.decode(): (option.val or b"").decode() for option in said.pgconn.info}
    assert options["tcp_user_timeout"] == "7000"
    assert options["keepalives_idle"] == "5"
    assert options["application_name"] == "mine"


def test_several_hosts(postgres_ledger_url: str) -> None:
    """The first that answers, and that writes where that is asked for, in either way of writing them."""
    with closing(StillLine(postgres_ledger_url)) as line:
        start = line.url.partition("@")[0]
        name = make_url(line.url).database
        for hosts in (
            f"host=127.0.0.1:1&host=127.0.0.1:{line.port}",
            f"host=127.0.0.1,127.0.0.1&port=1,{line.port}",
        ):
            url = f"{start}@/{name}?{hosts}&target_session_attrs=read-write"
            with closing(open_ledger(url)) as ledger, ledger.read() as db:
                assert db.execute(text("SELECT count(*) FROM campaigns")).scalar_one() == 0


@pytest.mark.parametrize("reads", [False, True])
def test_options_of_the_url_hold_for_a_plan_too(postgres_ledger_url: str, reads: bool) -> None:
    """The user's `options` are neither replaced nor added to, by any command."""
    url = make_url(postgres_ledger_url).update_query_dict({"options": "-c work_mem=5MB"})
    rendered = url.render_as_string(hide_password=False)
    with closing(open_to_read(rendered) if reads else open_ledger(rendered)) as ledger, ledger.read() as db:
        assert db.execute(text("SHOW work_mem")).scalar_one() == "5MB"


def test_a_plan_goes_through_a_pooler(postgres_ledger_url: str) -> None:
    """A look that changes nothing sends no `options`, which a pooler refuses."""
    with (
        closing(Pooler(postgres_ledger_url)) as pooler,
        closing(open_to_read(pooler.url)) as ledger,
        ledger.read() as db,
    ):
        assert db.execute(text("SHOW transaction_read_only")).scalar_one() == "on"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"postgresql://dialer:{PASSWORD}@localhost:99999/dialer", "ports are from 1 to 65535"),
        (f"postgresql://dialer:{PASSWORD}@localhost:0/dialer", "ports are from 1 to 65535"),
        (f"{TO}/dialer?port=5432,x", "ports are from 1 to 65535"),
        (f"postgresql://dialer:{PASSWORD}@/dialer?host=a:b", "ports are from 1 to 65535"),
        (f"{TO}/dialer?host=a&port=1&port=2", "number of hosts and ports"),
        (f"{TO}/dialer?connect_timeout=soon", "connect_timeout is a whole number"),
        (f"{TO}/dialer?keepalives_idle=x", "keepalives_idle is a whole number"),
        (f"{TO}/dialer?tcp_user_timeout=10s", "tcp_user_timeout is a whole number (milliseconds"),
        (f"{TO}/dialer?sslmode=maybe", "invalid sslmode value"),
        (f"{TO}/dialer?target_session_attrs=best", "invalid target_session_attrs value"),
        (f"{TO}/dialer?row_factory=x", "row_factory is no parameter"),
        (f"{TO}/dialer?autocommit=0", "autocommit is no parameter"),
        (f"{TO}/dialer?no_such_option=1", "no_such_option"),
    ],
)
def test_wrong_url_is_one_line(url: str, says: str) -> None:
    """What is wrong in a URL is a Mistake that names the variable and what is wrong, never the password."""
    for opens in (open_ledger, open_to_read):
        with pytest.raises(Mistake) as caught:
            opens(url)
        message = str(caught.value)
        assert message.startswith("DIALER_DATABASE_URL: ")
        assert says in message
        assert PASSWORD not in message
        assert "\n" not in message
