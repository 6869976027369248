"""AWS credentials that are read anew when AWS refuses them, or when their source had none.

botocore reads keys once: a file of keys that is renewed, or a program that failed once, needs a new session.
Here a client keeps its connections, and what it signs with is exchanged. Several threads share one.
"""

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

import botocore.credentials
import botocore.session
from botocore.exceptions import CredentialRetrievalError, NoCredentialsError

from worker.connect_errors import Unauthenticated, without_credentials

# A failed refresh is logged there with a traceback, which repeats what the source of the keys has said:
# perhaps the keys. That it failed is reported by those who need them.
logging.getLogger("botocore.credentials").setLevel(logging.CRITICAL)

_AGAIN_SECONDS = 5.0
"""From one try to read or use credentials that do not work until the next."""

_PROCESS_SECONDS = 30.0
"""How long a `credential_process` may take. botocore itself would wait for it for ever."""

_REFRESH_WITHIN_SECONDS = 600
"""Before their end, when botocore insists on a refresh."""


class Credentials(botocore.credentials.Credentials):
    """What the clients of one service sign with; stands in botocore's place for finding credentials.

    While credentials do not work, one thread at a time tries, every 5 s at most; the others fail at once.

    read: makes a new reading; None when there are none. monotonic: seconds.
    """

    method = "dialer"

    def __init__(
        self,
        *,
        read: Callable[[], Any] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("", "")
        self._read = read or _read
        self._monotonic = monotonic
        self._state = threading.Lock()
        self._first = threading.Lock()
        self._refreshing = threading.Lock()
        self._source: Any = None
        self._keys: Any = None
        self._reading = 0
        self._read_at = float("-inf")
        self._refresh_at = float("-inf")
        self._trouble: Unauthenticated | None = None
        self._trying = False
        self._try_at = float("-inf")

    def load_credentials(self) -> "Credentials":
        """For botocore's session, which asks its `credential_provider` so."""
        return self

    def get_frozen_credentials(self) -> Any:
        """For botocore's signer: the keys that `ready` has found."""
        return self._keys

    def ready(self) -> int:
        """See to it that there are keys. Returns the number of their reading, for `failed`.

        Raises Unauthenticated if there are none, or those that there are do not work and were tried just now.
        """
        with self._state:
            trying = self._trouble is not None
            if trying:
                self._raise_while_resting()
                self._trying = True
        try:
            if trying or self._source is None:
                self._renew(anew=trying)
            self._refresh()
        except Exception as error:
            trouble = error if isinstance(error, Unauthenticated) else without_credentials(error)
            self.failed(self._reading, trouble)
            raise trouble from None
        finally:
            if trying:
                with self._state:
                    self._trying = False
        return self._reading

    def failed(self, reading: int, trouble: Unauthenticated) -> None:
        """AWS has refused the keys of this reading, or there are none. Those of a newer one may be right."""
        with self._state:
            if reading == self._reading:
                if self._trouble is None:
                    # At once, unless they have been read just now.
                    self._try_at = self._read_at + _AGAIN_SECONDS
                self._trouble = trouble

    def taken(self) -> None:
        """AWS has answered, whatever it said: it knows who asks."""
        if self._trouble is not None:
            with self._state:
                self._trouble = None

    def _raise_while_resting(self) -> None:
        assert self._trouble is not None
        now = self._monotonic()
        if self._trying or now < self._try_at:
            known = self._trouble
            raise Unauthenticated(known.code, known.reason, known.status)
        self._try_at = now + _AGAIN_SECONDS

    def _renew(self, *, anew: bool) -> None:
        """Read the keys; other threads that need the first ones wait. Raises whatever reading raises."""
        with self._first:
            if not anew and self._source is not None:
                return
            if not anew and (known := self._trouble) is not None:
                raise Unauthenticated(known.code, known.reason, known.status)  # another thread had no success
            try:
                source = self._read()
                if source is None:
                    raise NoCredentialsError
                keys = source.get_frozen_credentials()
            finally:
                with self._state:
                    self._read_at = self._monotonic()
                    self._try_at = self._read_at + _AGAIN_SECONDS
            with self._state:
                if keys != self._keys:
                    # All others go on with these at once; the old ones are tried by this thread alone.
                    self._reading += 1
                    self._trouble = None
                self._source, self._keys = source, keys

    def _refresh(self) -> None:
        """Have keys that end soon renewed. While they work, a source that fails is no trouble."""
        source = self._source
        refresh_needed = getattr(source, "refresh_needed", None)
        if refresh_needed is None or not refresh_needed(_REFRESH_WITHIN_SECONDS):
            self._keep(source, source.get_frozen_credentials())
            return
        over = refresh_needed(0)
        # One thread asks; while the keys work, the others need not wait for it.
        if not self._refreshing.acquire(blocking=over):
            return
        try:
            if over and self._trouble is not None and not self._trying:
                known = self._trouble
                raise Unauthenticated(known.code, known.reason, known.status)
            if not over and self._monotonic() < self._refresh_at:
                return
            try:
                self._keep(source, source.get_frozen_credentials())
            except Exception:
                self._refresh_at = self._monotonic() + _AGAIN_SECONDS
                if refresh_needed(0):
                    raise
        finally:
            self._refreshing.release()

    def _keep(self, source: Any, keys: Any) -> None:
        if keys is self._keys or keys == self._keys:
            return
        with self._state:
            if source is self._source:
                self._keys = keys
                self._reading += 1


def _read() -> Any:
    """The credentials of the environment, the profile or the machine, as they are now; None without any."""
    # A new session each time: it keeps what it has read, the files as well.
    session = botocore.session.Session()
    resolver = session.get_component("credential_provider")
    resolver.insert_before(
        "custom-process",
        botocore.credentials.ProcessProvider(
            profile_name=session.get_config_variable("profile") or "default",
            load_config=lambda: session.full_config,
            popen=_Process,
        ),
    )
    return resolver.load_credentials()


class _Process(subprocess.Popen[bytes]):
    """A `credential_process` that is ended when it takes too long."""

    def __init__(self, arguments: list[str], **more: Any) -> None:
        # In a group of its own: what it has started would hold its output open, and be waited for.
        super().__init__(arguments, start_new_session=True, **more)

    def communicate(self, input: bytes | None = None, timeout: float | None = None) -> tuple[bytes, bytes]:
        """What it has written. Raises CredentialRetrievalError when it does not end."""
        try:
            return super().communicate(input, timeout if timeout is not None else _PROCESS_SECONDS)
        except subprocess.TimeoutExpired:
            self._end()

    def _end(self) -> NoReturn:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            super().communicate(timeout=1)
        raise CredentialRetrievalError(provider="credential_process", error_msg="it does not end") from None
