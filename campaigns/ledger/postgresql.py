"""PostgreSQL: a ledger that several machines share, directly or through a connection pooler.

A pooler in transaction mode gives each transaction another session, and other programs' sessions to us. So
nothing is set on a session: every transaction says at its beginning what it depends on.
"""

import logging
from typing import Any

from sqlalchemy import Connection, Dialect, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, InvalidatePoolError, NoSuchModuleError

from campaigns.mistake import Mistake

log = logging.getLogger(__name__)

IDLE_SECONDS = 15
"""How long a transaction may wait for us. A process that is stopped in the middle of one, or whose machine is
gone, would keep its rows locked, and with them the feed of all processes."""

POOLER = "pooler"
"""In the `info` of a connection: whether its server session may be another one in the next transaction."""

# One message, so that it takes no longer than a plain BEGIN.
#
# The default isolation of a server or a role may be stricter; then a statement that has waited for a lock
# would fail instead of seeing what was committed meanwhile.
#
# A server or a role may also be set up to answer before a commit is safe. Then a crash would take `dialing`
# back, and the call be placed twice. Stricter settings than `on` stay as they are.
_BEGIN = """
    BEGIN ISOLATION LEVEL READ COMMITTED {access};
    SET LOCAL idle_in_transaction_session_timeout TO '{idle}s';
    SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'
"""

_BEGUN = "begun"
"""In the `info` of a connection: that its first transaction was begun when it was taken from the pool."""

_UNLESS_THE_URL_SAYS = {
    "connect_timeout": 5,
    "application_name": "dialer",
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    # Milliseconds until a connection ends whose packets its host does not acknowledge. Without it a host that
    # has vanished, as in a failover, is waited for until the kernel gives up: 15 minutes.
    "tcp_user_timeout": 10_000,
}
"""Parameters of libpq, which leaves out those that an operating system does not have."""

_OURS = ("autocommit", "prepare_threshold", "context", "row_factory", "cursor_factory")
"""Parameters of the driver that are not for a URL to change."""

_WHO_ANSWERS = "SELECT pg_backend_pid(), current_setting('server_encoding')"


def postgresql_engine(url: URL, *, read_only: bool = False) -> Engine:
    """Connections to PostgreSQL, each of whose transactions begins as this program needs it.

    Raises Mistake where the driver is missing; connecting raises Mistake for a database not in UTF-8.
    """
    _check_parameters(url)
    try:
        # Only here, for the driver is not installed where the ledger is in SQLite.
        from campaigns.ledger.answering import Answered, Witness

        engine = create_engine(
            url,
            hide_parameters=True,
            pool_size=20,
            connect_args=_defaults(url)
            | {
                # The driver would send a BEGIN of its own; ours follows below.
                "autocommit": True,
                # A startup parameter that poolers keep track of, unlike `options`.
                "client_encoding": "UTF8",
            },
        )
    except (NoSuchModuleError, ModuleNotFoundError):
        raise Mistake('PostgreSQL needs its driver: pip install "connect-batch-dialer[postgres]"') from None
    dbapi_errors: Any = engine.dialect.loaded_dbapi
    # Not READ WRITE else: on a standby that would be another error than the writing itself.
    begin = _BEGIN.format(access="READ ONLY" if read_only else "", idle=IDLE_SECONDS)
    told = False
    witness = Witness(login_of(url))

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: Dialect, _record: Any, arguments: list[Any], named: dict[str, Any]) -> Answered:
        connection = Answered.connect(*arguments, **named)
        connection.witness = witness
        return connection

    @event.listens_for(engine, "connect")
    def _look(dbapi: Any, record: Any) -> None:
        nonlocal told
        pid, encoding = dbapi.execute(_WHO_ANSWERS, prepare=False).fetchone()
        if encoding != "UTF8":
            raise Mistake(
                f"DIALER_DATABASE_URL: the database's encoding is {encoding}, and the ledger needs UTF8: "
                "createdb --template=template0 --encoding=UTF8 NAME"
            )
        dbapi.pid = pid
        # A pooler answers with a process id of its own making when it is connected to.
        if pid != dbapi.info.backend_pid:
            record.info[POOLER] = True
            dbapi.pid = None
            # A statement that was prepared in one session is missing in the next, or is another one there.
            dbapi.prepare_threshold = None
            if not told:
                told = True
                log.info("the ledger is reached through a connection pooler: no statement is prepared")

    @event.listens_for(engine, "checkout")
    def _begin_first(dbapi: Any, record: Any, _fairy: Any) -> None:
        # A restarted server costs a reconnect, and not a failed transaction. A ping would find that out as
        # well, for one more round trip in each transaction.
        try:
            # Several statements in one are never prepared by the driver.
            dbapi.execute(begin)
        except dbapi_errors.Error as error:
            if dbapi.closed:
                raise InvalidatePoolError from error
            raise
        record.info[_BEGUN] = True

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if not connection.info.pop(_BEGUN, False):
            connection.exec_driver_sql(begin)  # another transaction of the same checkout

    return engine


def login_of(url: URL) -> dict[str, Any]:
    """What `psycopg.connect` takes for a URL: where the server is, and who asks."""
    _, named = url.get_dialect()().create_connect_args(url)
    return _defaults(url) | {name: value for name, value in named.items() if name != "context"}


def _check_parameters(url: URL) -> None:
    for name, values in sorted(url.normalized_query.items()):
        if name in _OURS:
            raise Mistake(f"DIALER_DATABASE_URL: {name} is no parameter of a connection to PostgreSQL")
        # libpq finds it out with the connection already made, and then says no more than that it failed.
        if isinstance(_UNLESS_THE_URL_SAYS.get(name), int) and not values[-1].strip().lstrip("-").isdecimal():
            unit = "milliseconds" if name == "tcp_user_timeout" else "seconds"
            raise Mistake(f"DIALER_DATABASE_URL: {name} is a whole number ({unit}, or a count)")
    try:
        login_of(url)
    except ArgumentError as error:
        raise Mistake(f"DIALER_DATABASE_URL: {error}") from None


def _defaults(url: URL) -> dict[str, Any]:
    return {name: value for name, value in _UNLESS_THE_URL_SAYS.items() if name not in url.query}
