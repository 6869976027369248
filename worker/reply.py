"""What AWS answers → what the dialer may use of it. What cannot be used is left out, or is an OddAnswer.

Read here and not by botocore's parser, which gives up a whole page for one value of the wrong type, and keeps
what no database takes. All that leaves this module fits both databases: no NUL, no halves of characters.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from campaigns.plain_text import visible
from worker.connect_errors import OddAnswer


@dataclass(frozen=True, slots=True)
class CallReport:
    """What DescribeContact knows of a call. Times are in UTC; None is what Connect left out."""

    initiated_at: datetime | None
    answered_at: datetime | None
    """When a person or a machine picked up (ConnectedToSystemTimestamp)."""
    ended_at: datetime | None
    disconnect_reason: str | None
    """Such as TELECOM_BUSY; see DisconnectReason in the contact record's data model."""
    answering_machine_status: str | None
    """Such as VOICEMAIL_BEEP; only where detection was asked for."""
    phone: str | None
    attributes: Mapping[str, str]
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A call as SearchContacts lists it. The rows carry no number; `describe` has it."""

    contact_id: str
    initiated_at: datetime
    name: str | None = None


@dataclass(frozen=True, slots=True)
class SearchPage:
    """Up to 100 calls, the earliest first."""

    calls: Sequence[Listed]
    next_token: str | None
    """Names the next page; None after the last one."""
    unreadable: int = 0
    """Rows that name no call, or no time: any call may be one of them, so absence proves nothing."""


# The API reference has 1 to 256 characters, and Connect makes UUIDs. Nothing that changes a URL's path.
_CONTACT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:=-]{0,255}")
_E164 = re.compile(r"\+[1-9][0-9]{1,14}")
_LONGEST_WORD = 256
_LONGEST_NAME = 1024  # characters of a contact's name, by the API reference
_LONGEST_PAGE_TOKEN = 100_000  # characters of NextToken, by the API reference
_MOST_ROWS = 100

# A call has been placed after the first, and is over before the second. Beyond, sums with it would overflow.
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)

_CHANGED = "something between us and AWS changed it"
_KEY = "DialerContent"


def read_here(*, response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """botocore's hook `before-parse`: keep an answer's content from its parser, for `content_of`."""
    if response_dict["status_code"] < 300:
        customized_response_dict[_KEY] = _object(response_dict["body"])
        response_dict["body"] = b"{}"


def content_of(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The JSON object of an answer that went through `read_here`. Raises OddAnswer if it was none."""
    found: Mapping[str, Any] | None = answer.get(_KEY)
    if found is None:
        raise OddAnswer("NoJson", f"the answer is no JSON object; {_CHANGED}")
    return found


def contact_id_in(value: object) -> str | None:
    """A contact id that can be kept and asked for, or None: text of 1 to 256 plain characters."""
    return value if isinstance(value, str) and _CONTACT_ID.fullmatch(value) else None


def word_in(value: object) -> str | None:
    """A word of Connect's, visible and of at most 256 characters; None if it is anything else, or empty."""
    return visible(value[:_LONGEST_WORD])[:_LONGEST_WORD] if isinstance(value, str) and value else None


def moment_in(value: object) -> datetime | None:
    """Seconds since 1970 or ISO 8601 → UTC; None for what cannot be a call's time.

    AWS's own samples write 1970-01-01 for "absent".
    """
    try:
        if isinstance(value, str) and len(value) <= 64:
            moment = datetime.fromisoformat(value)
            moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            moment = datetime.fromtimestamp(value, UTC)
        else:
            return None
    except (ValueError, OverflowError, OSError):
        return None
    return moment if _EARLIEST <= moment < _LATEST else None


def placed(content: Mapping[str, Any]) -> str:
    """StartOutboundVoiceContact's answer → the contact id.

    Raises OddAnswer: the call very probably rings, but nothing can be asked about it by that answer.
    """
    value = content.get("ContactId")
    if value is None:
        raise OddAnswer("NoContactId", f"the answer names no contact; {_CHANGED}")
    contact_id = contact_id_in(value)
    if contact_id is None:
        raise OddAnswer("OddContactId", f"the answer's contact id cannot be used; {_CHANGED}")
    return contact_id


def described(content: Mapping[str, Any], contact_id: str) -> CallReport:
    """DescribeContact's answer → the report. Raises OddAnswer for none, and for another contact's."""
    contact = content.get("Contact")
    if not isinstance(contact, dict):
        raise OddAnswer("NoContact", f"the answer holds no contact; {_CHANGED}")
    if (named := contact.get("Id")) is not None and named != contact_id:
        raise OddAnswer("OtherContact", f"the answer tells of another contact; {_CHANGED}")
    endpoint = contact.get("CustomerEndpoint")
    address = endpoint.get("Address") if isinstance(endpoint, dict) else None
    attributes = contact.get("Attributes")
    return CallReport(
        initiated_at=moment_in(contact.get("InitiationTimestamp")),
        answered_at=moment_in(contact.get("ConnectedToSystemTimestamp")),
        ended_at=moment_in(contact.get("DisconnectTimestamp")),
        disconnect_reason=word_in(contact.get("DisconnectReason")),
        answering_machine_status=word_in(contact.get("AnsweringMachineDetectionStatus")),
        phone=address if isinstance(address, str) and _E164.fullmatch(address) else None,
        attributes=(
            {key: value for key, value in attributes.items() if isinstance(value, str)}
            if isinstance(attributes, dict)
            else {}
        ),
        name=_name(contact.get("Name")),
    )


def listed(content: Mapping[str, Any]) -> SearchPage:
    """SearchContacts' answer → a page. Raises OddAnswer if it is no list, or of more rows than asked for."""
    rows, token = content.get("Contacts"), content.get("NextToken")
    if not isinstance(rows, list) or not isinstance(token, str | None):
        raise OddAnswer("NoContacts", f"the answer lists no contacts; {_CHANGED}")
    if len(rows) > _MOST_ROWS or len(token or "") > _LONGEST_PAGE_TOKEN:
        raise OddAnswer("TooManyContacts", f"the answer lists more than was asked for; {_CHANGED}")
    calls = [call for row in rows if (call := _call(row)) is not None]
    return SearchPage(calls, token or None, unreadable=len(rows) - len(calls))


def _call(row: object) -> Listed | None:
    if not isinstance(row, dict):
        return None
    contact_id, initiated_at = contact_id_in(row.get("Id")), moment_in(row.get("InitiationTimestamp"))
    if contact_id is None or initiated_at is None:
        return None
    return Listed(contact_id, initiated_at, _name(row.get("Name")))


def _name(value: object) -> str | None:
    return value[:_LONGEST_NAME] if isinstance(value, str) and value else None


def _object(body: bytes | str) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
