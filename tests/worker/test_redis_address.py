"""DIALER_REDIS_URL: what it means to the queue and the pacer alike, and what is said of a wrong one."""

from pathlib import Path
from typing import Any

import pytest

from campaigns.mistake import Mistake
from campaigns.settings import load_settings
from worker import broker
from worker.redis_address import read_redis_url
from worker.settings import DialerSettings


@pytest.mark.parametrize(
    ("url", "host", "port", "database"),
    [
        ("redis://localhost", "localhost", 6379, 0),
        ("redis://localhost:6380/", "localhost", 6380, 0),
        ("redis://:pw@redis.internal:6379/3", "redis.internal", 6379, 3),
        ("redis://redis.internal?db=3", "redis.internal", 6379, 3),
        ("redis://[::1]:6379/1", "::1", 6379, 1),
        ("redis:///2", "localhost", 6379, 2),
    ],
)
def test_place_and_database(url: str, host: str, port: int, database: int) -> None:
    """The database counts in the path and as an option."""
    options = read_redis_url(url).options
    assert (options["host"], options["port"], options["db"]) == (host, port, database)


def test_password_is_unquoted_and_never_shown() -> None:
    """Percent-encoded characters are the password's own."""
    address = read_redis_url("rediss://us%40er:a%2Fb%23c%3Fd%25@redis.internal/0")
    assert (address.options["username"], address.options["password"]) == ("us@er", "a/b#c?d%")
    assert address.secrets == ("a/b#c?d%",)
    assert "a/b" not in f"{address!r} {address} {address.shown}"


def test_socket_has_account_and_database() -> None:
    """A Unix socket's options stand behind its path."""
    options = read_redis_url("unix:///run/my%20valkey.sock?db=3&password=pw").options
    assert options == {"path": "/run/my valkey.sock", "db": 3, "password": "pw"}


@pytest.mark.parametrize(
    ("query", "reqs", "hostname"),
    [
        ("", "required", True),
        ("?ssl_cert_reqs=CERT_REQUIRED", "required", True),
        ("?ssl_cert_reqs=CERT_NONE", "none", False),
        ("?ssl_cert_reqs=none", "none", False),
        ("?ssl_check_hostname=False", "required", False),
    ],
)
def test_certificates_are_checked_unless_the_url_says_otherwise(
    query: str, reqs: str, hostname: bool
) -> None:
    """Both spellings, redis-py's and Celery's, mean the same to both."""
    address = read_redis_url(f"rediss://redis.internal{query}")
    assert (address.options["ssl_cert_reqs"], address.options["ssl_check_hostname"]) == (reqs, hostname)
    assert address.checks_certificates == (reqs == "required")


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("unix:///s", True),
        ("redis://localhost", True),
        ("redis://127.0.0.9", True),
        ("redis://[::1]", True),
        ("redis://10.0.0.1", False),
        ("redis://redis.internal", False),
    ],
)
def test_what_only_this_machine_reaches(url: str, local: bool) -> None:
    """Loopback addresses and sockets."""
    assert read_redis_url(url).is_local == local


WRONG = [
    ("redis://:hun/ter2@h:6379/0", "percent-encode the password"),
    ("redis://:hun#ter2@h:6379/0", "percent-encode the password"),
    ("redis://:hun?ter2@h:6379/0", "percent-encode the password"),
    ("redis://:hunter2/@h:6379/0", "percent-encode the password"),
    ("redis://:hunter2?@h:6379/0", "percent-encode the password"),
    ("redis://:hunter2%zz@h:6379/0", "percent-encode the password"),
    ("redis://:hunter2 @h:6379/0", "percent-encode it"),
    ("redis://:hunter2[@h:6379/0", "%5B"),
    ("redis://[::1", "IPv6"),
    ("redis://h:6379?hunter2", "no option=value"),
    ("redis://h:6379?hunter2=1", "an unknown option"),
    ("redis://h:6379?dbb=1", "perhaps db is meant"),
    ("redis://h:6379?ssl_cert_reqs=none", "is for rediss:// (TLS) only"),
    ("redis://h:6379?db=1&db=2", "given twice"),
    ("redis://h:6379/1?db=2", "two databases"),
    ("redis://h:6379/prod", "its database is a number"),
    ("redis://h:6379?db=prod", "its database is a number"),
    ("redis://h:6379/-1", "its database is a number"),
    ("redis://h:99999/0", "from 1 to 65535"),
    ("redis://h:0/0", "from 1 to 65535"),
    ("redis://h:port/0", "from 1 to 65535"),
    ("redis://h1:6379,h2:6379", "several servers"),
    ("redis://:hunter2@h1:6379;h2:6379/0", "several servers"),
    ("redis://user@h:6379/0", "a user without a password"),
    ("rediss://h?ssl_cert_reqs=maybe", "ssl_cert_reqs"),
    ("rediss://h?ssl_check_hostname=1", "ssl_check_hostname"),
    ("rediss://h?ssl_ca_certs=/none/such.pem", "cannot be read"),
    ("sentinel://h:26379/mymaster", "expected redis://"),
    ("unix://relative/valkey.sock", "three slashes"),
    ("http://:hunter2@h", "expected redis://"),
]


@pytest.mark.parametrize(("url", "said"), WRONG)
def test_wrong_url_is_one_line_without_the_url(
    url: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The variable, what is wrong, and a value that would do; nothing of what may be a password."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIALER_REDIS_URL", url)
    with pytest.raises(Mistake) as mistake:
        load_settings(DialerSettings)
    text = str(mistake.value)
    assert text.startswith("DIALER_REDIS_URL: ")
    assert said in text
    assert "hun" not in text
    assert "\n" not in text


def test_certificate_file_that_is_none(tmp_path: Path) -> None:
    """A file of the wrong kind is found out before anything connects."""
    wrong = tmp_path / "ca.pem"
    wrong.write_text("no certificate")
    with pytest.raises(ValueError, match="its certificate files cannot be used"):
        read_redis_url(f"rediss://h?ssl_ca_certs={wrong}")


def test_settings_do_not_show_the_url() -> None:
    """Not in their representation either, which a traceback may print."""
    assert "hunter2" not in repr(DialerSettings(redis_url="redis://:hunter2@h"))


def test_queue_and_pacer_connect_alike(program: Any) -> None:
    """The same options reach kombu's connections and the pacer's."""
    address = read_redis_url("rediss://user:pw@redis.internal:6380/2?ssl_check_hostname=false")
    app = program.root.make_app(program.machine().settings.model_copy(update={"redis_url": "redis://h"}))
    connection = app.connection_for_write()
    channel = broker.Channel.__new__(broker.Channel)
    channel.link = broker.Link(address, lambda *_: None, lambda: None, lambda _: None)
    channel.connection, channel._registered = connection.transport, False
    theirs = channel._connparams()
    ours = address.client().connection_pool.connection_kwargs
    names = [*address.options]
    assert {name: theirs[name] for name in names} == {name: ours[name] for name in names}
    assert issubclass(theirs["connection_class"], broker.SSLConnection)
