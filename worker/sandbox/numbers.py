"""A test number → the script of its call. The last two digits choose; docs/sandbox.md has the table."""

from dataclasses import dataclass
from enum import StrEnum
from zlib import crc32


class Fault(StrEnum):
    """What goes wrong with a request, apart from the call itself.

    *before* means that nothing was placed; *after* means that the call was placed and only the answer
    is lost, late or wrong.
    """

    REFUSE_DESTINATION = "refuse_destination"
    REFUSE_PARAMETER = "refuse_parameter"
    THROTTLE = "throttle"
    LIMIT = "limit"
    ERROR_BEFORE = "error_before"
    ERROR_AFTER = "error_after"
    DROP_BEFORE = "drop_before"
    DROP_AFTER = "drop_after"
    SLOW_AFTER = "slow_after"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call is over. One shared value per way, so that a million calls cost a million references."""

    label: str
    reason: str
    """Connect's DisconnectReason."""
    detected: str | None = None
    """AnsweringMachineDetectionStatus, shown only where the request asked for detection."""
    connects: bool = False
    """Whether anybody or anything picks up."""


ANSWERED = Ending("answered", "CUSTOMER_DISCONNECT", "HUMAN_ANSWERED", connects=True)
VOICEMAIL = Ending("voicemail", "CONTACT_FLOW_DISCONNECT", "VOICEMAIL_BEEP", connects=True)
VOICEMAIL_NO_BEEP = Ending("voicemail_no_beep", "CONTACT_FLOW_DISCONNECT", "VOICEMAIL_NO_BEEP", connects=True)
FAX = Ending("fax", "CUSTOMER_DISCONNECT", "FAX_MACHINE_DETECTED", connects=True)
NO_ANSWER = Ending("no_answer", "TELECOM_TIMEOUT", "AMD_UNANSWERED")
BUSY = Ending("busy", "TELECOM_BUSY", "SIT_TONE_BUSY")
INVALID_NUMBER = Ending("invalid_number", "TELECOM_NUMBER_INVALID", "SIT_TONE_INVALID_NUMBER")
UNREACHABLE = Ending("unreachable", "TELECOM_PROBLEM")
BLOCKED = Ending("blocked", "TELECOM_POTENTIAL_BLOCKING")
OVER_QUOTA = Ending("over_quota", "TELECOM_BUSY")
"""More calls at once than the instance may have: accepted, cut off at once, and nobody's telephone rang."""

ENDINGS = {
    ending.label: ending
    for ending in (
        ANSWERED,
        VOICEMAIL,
        VOICEMAIL_NO_BEEP,
        FAX,
        NO_ANSWER,
        BUSY,
        INVALID_NUMBER,
        UNREACHABLE,
        BLOCKED,
        OVER_QUOTA,
    )
}


@dataclass(frozen=True, slots=True)
class Script:
    """What one call will do, in call seconds (the exchange's speed turns them into real ones)."""

    ending: Ending
    ring_seconds: float
    talk_seconds: float = 0.0
    fault: Fault | None = None
    every_time: bool = False
    """The fault meets every request, not only the first one of each client token."""


_ENDING_OF = {
    **dict.fromkeys(range(70, 75), NO_ANSWER),
    **dict.fromkeys(range(75, 78), BUSY),
    **dict.fromkeys(range(78, 80), VOICEMAIL),
    80: VOICEMAIL_NO_BEEP,
    **dict.fromkeys(range(81, 83), INVALID_NUMBER),
    **dict.fromkeys(range(83, 85), UNREACHABLE),
    85: BLOCKED,
    86: FAX,
    89: BUSY,
}
"""Last two digits → ending. Whatever is not named is answered by a person."""

_FAULT_OF = {
    # The trap: over in two seconds, and the first answer is a 500. A replay of the token rings again.
    89: Fault.ERROR_AFTER,
    90: Fault.REFUSE_DESTINATION,
    91: Fault.REFUSE_PARAMETER,
    92: Fault.THROTTLE,
    93: Fault.LIMIT,
    94: Fault.ERROR_BEFORE,
    95: Fault.ERROR_BEFORE,
    96: Fault.ERROR_AFTER,
    97: Fault.DROP_BEFORE,
    98: Fault.DROP_AFTER,
    99: Fault.SLOW_AFTER,
}
_EVERY_TIME = frozenset({90, 91, 95})
_SHORT_TALK, _LONG_TALK = 87, 88


def script_for(
    number: str,
    *,
    ring_timeout_seconds: int = 60,
    call_seconds: tuple[float, float] | None = None,
    faults: bool = True,
) -> Script:
    """The script of a call to `number` (E.164). The same number always gives the same script.

    `call_seconds`: how long, at least and at most, a call lasts that makes a telephone ring, from its placing
    to its end. None: as docs/sandbox.md has it for each number. `faults`: with faults or not.
    """
    digits = int(number[-2:])
    ending = _ENDING_OF.get(digits, ANSWERED)
    if call_seconds and (ending.connects or ending is NO_ANSWER):
        ring, talk = _lengths_within(number, ending, call_seconds)
    else:
        ring, talk = _lengths(number, digits, ending, ring_timeout_seconds)
    fault = _FAULT_OF.get(digits) if faults else None
    return Script(ending, ring, talk, fault, fault is not None and digits in _EVERY_TIME)


def _lengths(number: str, digits: int, ending: Ending, ring_timeout_seconds: int) -> tuple[float, float]:
    """(ring seconds, talk seconds). Whoever picks up does so within 14 s: the shortest ring timeout is 15."""
    spread = crc32(number.encode())
    if ending is NO_ANSWER:
        return float(ring_timeout_seconds), 0.0
    if ending is BUSY:
        return 2.0, 0.0
    if not ending.connects:
        return 1.0, 0.0
    if ending is not ANSWERED:
        return 8.0 + spread % 7, 20.0
    if digits == _SHORT_TALK:
        return 1.0, 1.0
    return 3.0 + spread % 10, 600.0 if digits == _LONG_TALK else 10.0 + (spread >> 8) % 51


def _lengths_within(number: str, ending: Ending, call_seconds: tuple[float, float]) -> tuple[float, float]:
    """(ring seconds, talk seconds), together within `call_seconds`, both ends included."""
    spread = crc32(number.encode())
    least, most = call_seconds
    whole = least + (most - least) * (spread % 1000) / 999
    if ending is NO_ANSWER:
        return whole, 0.0
    # Whoever picks up does so after a fifth to four fifths of the call, and before any ring timeout.
    ring = min(14.0, whole * (0.2 + 0.6 * (spread // 1000 % 1000) / 999))
    return ring, whole - ring
