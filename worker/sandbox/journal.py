"""One JSON line per request, with what came of it. Read again at the start: calls outlive the sandbox."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

from campaigns.mistake import Mistake
from worker.sandbox.checks import Common
from worker.sandbox.exchange import Call
from worker.sandbox.numbers import ENDINGS

START = "StartOutboundVoiceContact"
STOP = "StopContact"


@dataclass(frozen=True, slots=True)
class Entry:
    """One request to start (or stop) a call, and what came of it."""

    epoch: float
    """Seconds since 1970 at which it came in."""
    operation: str
    client_token: str | None
    destination: str | None
    status: int | None
    """The HTTP status that was sent; None when the connection was dropped instead."""
    error: str | None = None
    """AWS's error code, or `ConnectionDropped`."""
    contact_id: str | None = None
    """The call that was placed, found or stopped, whether or not the caller was told."""
    rang: bool = False
    """This request made a telephone ring anew."""
    replayed: bool = False
    """The token's call was still alive, and it was returned."""
    fault: str | None = None
    fault_of_number: bool = False
    """The fault came from the number's last digits, not from the rates."""
    call: Call | None = None
    """The call that was placed, for a new one."""

    def line(self) -> str:
        """The entry as one line of JSON, with the newline."""
        content: dict[str, Any] = {
            "time": datetime.fromtimestamp(self.epoch, UTC).isoformat(timespec="microseconds"),
            "epoch": self.epoch,
            "operation": self.operation,
            "client_token": self.client_token,
            "destination": self.destination,
            "status": self.status,
            "error": self.error,
            "contact_id": self.contact_id,
            "rang": self.rang,
            "replayed": self.replayed,
            "fault": self.fault,
            "fault_of_number": self.fault_of_number,
        }
        if self.call is not None:
            content["call"] = {
                "placed_at": self.call.placed_at,
                "answered_at": self.call.answered_at,
                "ended_at": self.call.ended_at,
                "ending": self.call.ending.label,
                "detection": self.call.detection,
                "common": self.call.common,
                "attributes": self.call.attribute_map(),
            }
        return json.dumps(content, separators=(",", ":")) + "\n"


class Journal:
    """An append-only file. A line is with the operating system before its answer is sent; no fsync."""

    def __init__(self, path: Path) -> None:
        """Open, or continue, the file. Raises Mistake if that cannot be done."""
        self._path = path
        self._left = b""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _cut_half_line(path)
            # Whole telephone numbers are in it: for its owner's eyes only.
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            self._file: FileIO = FileIO(descriptor, "a")
        except OSError as error:
            raise Mistake(f"{path}: the sandbox cannot keep its journal there: {error.strerror}") from None

    def append(self, entry: Entry) -> None:
        """Write one line. Raises OSError; then it is written by the next `flush` that succeeds."""
        self._left += entry.line().encode()
        self.flush()

    def flush(self) -> None:
        """Write what has not been written yet, for instance because the disk was full. Raises OSError."""
        while self._left:
            # A full disk may take a part of a line.
            self._left = self._left[self._file.write(self._left) :]

    def entries(self) -> Iterator[Entry]:
        """What is in the file. Raises Mistake naming a line that is not the sandbox's."""
        with self._path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield _entry(json.loads(line))
                except (ValueError, KeyError, TypeError, AttributeError):
                    raise Mistake(
                        f"{self._path}: line {number} is not a line of a sandbox journal; name another file"
                    ) from None

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        self._file.close()


def _cut_half_line(path: Path) -> None:
    """Drop what follows the last newline: the process was killed while it wrote, and never answered."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        keep = end
        while keep:
            start = max(0, keep - 4096)
            file.seek(start)
            newline = file.read(keep - start).rfind(b"\n")
            if newline >= 0:
                keep = start + newline + 1
                break
            keep = start
        if keep != end:
            file.truncate(keep)


def _entry(content: dict[str, Any]) -> Entry:
    call = content.get("call")
    return Entry(
        epoch=float(content["epoch"]),
        operation=str(content["operation"]),
        client_token=content["client_token"],
        destination=content["destination"],
        status=content["status"],
        error=content["error"],
        contact_id=content["contact_id"],
        rang=content["rang"],
        replayed=content["replayed"],
        fault=content["fault"],
        fault_of_number=content["fault_of_number"],
        call=None if call is None else _call(content, call),
    )


def _call(content: dict[str, Any], call: dict[str, Any]) -> Call:
    return Call(
        destination=content["destination"],
        client_token=content["client_token"],
        common=Common(*call["common"]),
        attributes=json.dumps(call["attributes"], separators=(",", ":")).encode()
        if call["attributes"]
        else None,
        placed_at=float(call["placed_at"]),
        answered_at=call["answered_at"],
        ended_at=float(call["ended_at"]),
        ending=ENDINGS[call["ending"]],
        detection=call["detection"],
    )
