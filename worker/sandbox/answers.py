"""What goes back to a caller, and what the faults make of it."""

from dataclasses import dataclass
from typing import Any

from worker.sandbox.numbers import Fault

# The same words whether or not the call was placed: the caller shall not be able to tell.
_INSIDE = "Request processing failed because of an error or failure with the service"


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the caller."""

    status: int | None
    """None: no answer at all; the connection is closed."""
    content: dict[str, Any]
    error: str | None = None
    wait_seconds: float = 0.0
    """Real seconds to wait before sending it."""


_DROP = Answer(None, {}, "ConnectionDropped")


def error_answer(status: int, code: str, message: str) -> Answer:
    """An AWS error."""
    # Throttles come from the gateway before the service, which spells the field in lower case.
    field = "message" if status == 429 and code != "LimitExceededException" else "Message"
    return Answer(status, {field: message}, code)


def too_many() -> Answer:
    """StartOutboundVoiceContact above its rate. Not in the API reference, but what the field sees."""
    return error_answer(429, "TooManyRequestsException", "Too Many Requests")


def throttled() -> Answer:
    """Any other operation above its rate."""
    return error_answer(429, "ThrottlingException", "Rate exceeded")


def failed() -> Answer:
    """Any other operation that fails on request."""
    return error_answer(500, "InternalServiceException", _INSIDE)


def before(fault: Fault | None) -> Answer | None:
    """The answer where nothing is placed."""
    match fault:
        case Fault.REFUSE_DESTINATION:
            return error_answer(
                403, "DestinationNotAllowedException", "Outbound calls to this destination are not allowed"
            )
        case Fault.REFUSE_PARAMETER:
            return error_answer(400, "InvalidParameterException", "DestinationPhoneNumber: cannot be called")
        case Fault.LIMIT:
            return error_answer(429, "LimitExceededException", "The limit of calls is reached")
        case Fault.THROTTLE:
            return too_many()
        case Fault.ERROR_BEFORE:
            return error_answer(500, "InternalServiceException", _INSIDE)
        case Fault.DROP_BEFORE:
            return _DROP
        case _:
            return None


def after(fault: Fault | None, contact_id: str, slow_seconds: float) -> Answer:
    """The answer once the call is placed."""
    match fault:
        case Fault.ERROR_AFTER:
            return error_answer(500, "InternalServiceException", _INSIDE)
        case Fault.DROP_AFTER:
            return _DROP
        case Fault.SLOW_AFTER:
            return Answer(200, {"ContactId": contact_id}, wait_seconds=slow_seconds)
        case _:
            return Answer(200, {"ContactId": contact_id})
