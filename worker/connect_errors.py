"""What an error of boto3's means for the call: has it rung, can it still ring, and whose fault is it?

Each class is a decision that its catcher has to take. What separates them is whether the request can have
left, and `NeverSent` is said only on proof that it has not.
"""

import re
import ssl
from collections.abc import Iterator
from datetime import timedelta
from enum import Enum, auto

import botocore
import botocore.exceptions as aws

from campaigns.ledger.clock import wall_clock
from campaigns.plain_text import visible
from campaigns.recipient import masked
from worker.aws_clock import CLOCK_CODES, aws_ahead, clock_hint, differs


class ConnectError(Exception):
    """A request to Connect came to nothing, or nobody knows what it came to.

    `code` is AWS's error code, or the name of what happened on the way. `reason` is for the ledger, the log
    and the operator: it holds no secrets and no telephone numbers.
    """

    def __init__(self, code: str, reason: str, status: int = 0) -> None:
        super().__init__(code, reason, status)
        self.code = code
        self.reason = reason
        self.status = status
        """HTTP's, or 0 where there was no answer."""

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}"


class NeverSent(ConnectError):
    """The request has not left this machine. The same attempt may be sent again at any time."""


class Withheld(NeverSent):
    """It was not let go: no slot, a look too late, a worker that stops. Nothing is wrong with the way out."""


class Unauthenticated(NeverSent):
    """AWS does not take the credentials, or there are none at the moment. It did not ring.

    Whether it was turned away or has not left, the same attempt may be sent again at any time. No campaign
    pauses for it: the credentials are read anew until they are right (credentials.py).
    """


class Throttled(ConnectError):
    """Too many requests a second. It did not ring; slow down, and send the same attempt again later."""


class NoCapacity(ConnectError):
    """A quota on calls in progress is used up. It did not ring; send the same attempt again later."""


class Refused(ConnectError):
    """This call cannot be placed, now or later, while others can. It did not ring."""


class Misconfigured(ConnectError):
    """No call of the campaign can be placed until somebody changes what the reason names. It did not ring."""


class ClockWrong(Misconfigured):
    """AWS refuses the time of this machine's requests. It did not ring; it passes with the clock's error."""


class Ambiguous(ConnectError):
    """It may ring. Sending again may ring twice once the first call is over."""


class OddAnswer(Ambiguous):
    """A request was answered, but not as Connect answers. A call very probably rings.

    It is not sent again: whatever changed the answer would change the next one too, and each may ring.
    """


class Stray(Ambiguous):
    """Something else than the stand-in has answered a trial. It may ring for real; no other may follow."""


class AnswerTooLarge(Exception):
    """More bytes have come than an answer has."""


class Stage(Enum):
    """How far a request came. Only what has been sent can have rung."""

    PREPARING = auto()
    """Credentials, Region, parameters: the request is not complete."""
    CONNECTING = auto()
    """Complete and signed; looking for a connection, or opening one."""
    SENT = auto()
    """From the moment before its first byte is written."""


_CREDENTIALS = "check the credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE or the machine's role)"
_CLOCK = "check this machine's clock and the credentials"
_RIGHTS = (
    "allow connect:StartOutboundVoiceContact, connect:DescribeContact, connect:SearchContacts, "
    "connect:GetContactAttributes, and connect:StopContact for `dialer cancel --hang-up`, "
    "to these credentials"
)
_SLOWER = "too many requests a second for this account and Region"
_MAYBE = "AWS did not say whether the call was placed"

# Error codes without "Exception" → what they mean for the call, and what to do. First the operation's own
# errors, then the "Common Error Types" that all of AWS's APIs share and botocore's list of throttling codes.
_BY_CODE: dict[str, tuple[type[ConnectError], str]] = {
    "InvalidParameter": (Refused, "Connect refuses this call's parameters"),
    "InvalidRequest": (Refused, "Connect refuses this call"),
    "DestinationNotAllowed": (Refused, "the instance may not call this country or number"),
    "OutboundContactNotPermitted": (Misconfigured, "enable outbound calling for the instance"),
    "ResourceNotFound": (Misconfigured, "check instance_id, contact_flow_id and queue_id, and the Region"),
    "LimitExceeded": (NoCapacity, "a quota of the instance is used up"),
    "InternalService": (Ambiguous, _MAYBE),
    # Throttling: unmodelled for this operation, and what the field sees is the first of them.
    "TooManyRequests": (Throttled, _SLOWER),
    "Throttling": (Throttled, _SLOWER),
    "Throttled": (Throttled, _SLOWER),
    "RequestThrottled": (Throttled, _SLOWER),
    "RequestLimitExceeded": (Throttled, _SLOWER),
    "SlowDown": (Throttled, _SLOWER),
    "BandwidthLimitExceeded": (Throttled, _SLOWER),
    "ServiceQuotaExceeded": (NoCapacity, "a quota of the instance is used up"),
    # Who is asking.
    "AccessDenied": (Misconfigured, _RIGHTS),
    "NotAuthorized": (Misconfigured, _RIGHTS),
    "UnauthorizedOperation": (Misconfigured, _RIGHTS),
    "Unauthorized": (Misconfigured, _RIGHTS),
    "AuthFailure": (Unauthenticated, _CREDENTIALS),
    "ExpiredToken": (Unauthenticated, f"the credentials have expired; {_CREDENTIALS}"),
    "IncompleteSignature": (Misconfigured, _CREDENTIALS),
    "InvalidAccessKeyId": (Unauthenticated, _CREDENTIALS),
    "InvalidClientTokenId": (Unauthenticated, _CREDENTIALS),
    "InvalidSignature": (Unauthenticated, _CLOCK),
    "MissingAuthenticationToken": (Misconfigured, f"{_CREDENTIALS} and AWS_ENDPOINT_URL_CONNECT"),
    "OptInRequired": (Misconfigured, "the account is not subscribed to Amazon Connect in this Region"),
    "RequestExpired": (Unauthenticated, _CLOCK),
    "RequestTimeTooSkewed": (Unauthenticated, _CLOCK),
    "SignatureDoesNotMatch": (Unauthenticated, _CLOCK),
    "UnrecognizedClient": (Unauthenticated, _CREDENTIALS),
    "UnknownOperation": (Misconfigured, "check AWS_ENDPOINT_URL_CONNECT: it does not know this operation"),
    # What is asked.
    "Serialization": (Refused, "Connect cannot read this request"),
    "Validation": (Refused, "Connect refuses this call's parameters"),
    # The server did not get, or did not finish, the request.
    "RequestTimeout": (Ambiguous, _MAYBE),
    "ServiceUnavailable": (Ambiguous, _MAYBE),
    "InternalFailure": (Ambiguous, _MAYBE),
    "InternalServer": (Ambiguous, _MAYBE),
}

# For codes that are not in the table. What is in neither is Ambiguous: 408, 409, 425 and 5xx among them.
_BY_STATUS: dict[int, tuple[type[ConnectError], str]] = {
    400: (Refused, "Connect refuses this call"),
    401: (Misconfigured, _CREDENTIALS),
    402: (Misconfigured, "check the account"),
    403: (Misconfigured, _RIGHTS),
    404: (Misconfigured, "check instance_id, contact_flow_id and queue_id, and AWS_ENDPOINT_URL_CONNECT"),
    405: (Misconfigured, "check AWS_ENDPOINT_URL_CONNECT: this is no Amazon Connect"),
    407: (Misconfigured, "the proxy wants credentials; check HTTPS_PROXY"),
    413: (Refused, "the request is too large"),
    422: (Refused, "Connect refuses this call's parameters"),
    429: (Throttled, _SLOWER),
    431: (Refused, "the request is too large"),
}
# These answers repeat the request's headers, and the hint says all there is to do.
_TELLTALE = {"IncompleteSignature", "InvalidSignature", "SignatureDoesNotMatch"}
# Parameters that are the same for all calls of a campaign, and those that are this call's own. A plain "name"
# may be that of anything, so it counts where it is written or quoted like the parameter.
_CAMPAIGNS_OWN = re.compile(
    r"(?i:instance|flow|source|queue|traffic|answer(?:ing)?.?machine|ring.?time|description|references?\b|related.?contact"
    r"|campaign|outbound.?strategy|contact.?name)|\bName\b|(?P<mark>['\"`])name(?P=mark)"
)
_CALLS_OWN = re.compile(r"destination|attribute|token", re.IGNORECASE)
_CALLS_PARAMETERS = {"DestinationPhoneNumber", "ClientToken", "Attributes"}
# botocore's own words, a line for each parameter: `Unknown parameter in input: "Name", must be one of: …`,
# `Invalid length for parameter Name, value: …`, `Invalid type for parameter References.Url.Type, value: …`.
_NOT_KNOWN = re.compile(
    r'^Unknown parameter in (?:input|(?P<inside>\w+)[^:]*): "(?P<name>\w+)"', re.MULTILINE
)
_NOT_VALID = re.compile(
    r'^(?:Invalid \w+ for parameter |Missing required parameter in input: ")(?P<name>\w+)', re.MULTILINE
)


def judged(error: Exception, stage: Stage, phone: str = "") -> ConnectError:
    """Say what an error means for the call. Decides only; raises nothing.

    phone: the number called, to be masked wherever the error repeats it.
    """
    for link in (error, *_links(error)):
        if isinstance(link, ConnectError):
            return link  # our own last look, wrapped by those whom it passed on its way
    match stage:
        case Stage.PREPARING:
            return _before_sending(error, phone)
        case Stage.CONNECTING:
            return _while_connecting(error, phone)
        case Stage.SENT:
            return _after_sending(error, phone)


def judged_answer(
    status: int, code: object, message: object, phone: str = "", *, ahead: timedelta | None = None
) -> ConnectError:
    """Say what AWS's answer means for the call, by its error code, or else by its HTTP status.

    ahead: how far AWS's clock is ahead of this machine's, if the answer tells.
    """
    code, message = _told(code), _told(message)
    key = code.removesuffix("Exception").removesuffix("Error")
    if key in _BY_CODE:
        kind, hint = _BY_CODE[key]
    elif 300 <= status < 400:
        kind, hint = Misconfigured, "check AWS_ENDPOINT_URL_CONNECT: it points elsewhere"
    else:
        kind, hint = _BY_STATUS.get(status, (Ambiguous, _MAYBE))
        if status in (400, 422) and not key.strip("0123456789"):
            # No code of AWS's: a gateway's own page, of which a recipient must not be the victim.
            kind, hint = Ambiguous, _MAYBE
    if key in CLOCK_CODES:
        hint = clock_hint(ahead, _CLOCK, _CREDENTIALS)
        kind = ClockWrong if differs(ahead) else kind
    if status >= 500 and kind is not Throttled:
        # Whoever answers 5xx does not know what he did, whatever he calls it.
        kind, hint = Ambiguous, _MAYBE
    if kind is Refused and key != "DestinationNotAllowed" and _is_campaigns(message):
        # Not this person's fault: the next thousand would be refused as well, and lost.
        kind, hint = Misconfigured, "check the [connect] table of the campaign file"
    code = _clean(code, phone)[:_LONGEST_CODE]
    said = "" if key in _TELLTALE else _clean(message, phone)
    return kind(code or str(status), f"{hint} ({said})" if said else f"{hint} (HTTP {status})", status)


def _is_campaigns(message: str) -> bool:
    """Whether a refusal names what all calls of the campaign share, and nothing of this call's own."""
    return bool(_CAMPAIGNS_OWN.search(message)) and not _CALLS_OWN.search(message)


def _before_sending(error: Exception, phone: str) -> ConnectError:
    """The request was not complete yet: credentials, Region, parameters."""
    name = type(error).__name__
    if isinstance(error, aws.ParamValidationError):
        return _not_valid(error, phone)
    if isinstance(error, aws.ClientError) and isinstance(_judged_response(error, phone), ClockWrong):
        return _judged_response(error, phone)
    if isinstance(error, (*_CREDENTIAL_ERRORS, aws.ClientError, aws.HTTPClientError, aws.ConnectionError)):
        # A ClientError here is not Connect's: STS answers, when it is asked for a role.
        return without_credentials(error)
    hint = "check the AWS settings"
    if isinstance(error, aws.NoRegionError):
        hint = "set AWS_REGION, for instance to us-east-1"
    elif isinstance(error, aws.ProfileNotFound):
        hint = "check AWS_PROFILE"
    elif isinstance(error, ValueError):
        hint = "check AWS_REGION and AWS_ENDPOINT_URL_CONNECT"
    # Also for errors that nobody foresaw: nobody was rung, and the next call would fare the same.
    return Misconfigured(name, f"{hint} ({_text(error, phone)})")


def _not_valid(error: aws.ParamValidationError, phone: str) -> ConnectError:
    """What botocore has not sent: a value of a wrong type, or a parameter that it is too old to know."""
    name, report = type(error).__name__, str(error)
    unknown = [found["inside"] or found["name"] for found in _NOT_KNOWN.finditer(report)]
    wrong = [*unknown, *(found["name"] for found in _NOT_VALID.finditer(report))]
    if set(wrong) <= _CALLS_PARAMETERS:
        return Refused(name, _text(error, phone))
    hint = "check the [connect] table of the campaign file"
    if unknown:
        newer = "upgrade boto3 to 1.41 or newer on this machine"
        hint = f"this botocore ({botocore.__version__}) does not know {unknown[0]}; {newer}"
    return Misconfigured(name, f"{hint} ({_text(error, phone)})")


def without_credentials(error: Exception) -> Unauthenticated:
    """Say that there are no credentials at the moment, and why. Never with a secret of theirs."""
    name = type(error).__name__
    if isinstance(error, aws.NoCredentialsError):
        hint = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role"
        return Unauthenticated(name, hint)
    if isinstance(error, aws.ClientError):
        answer = error.response.get("Error", {})
        verdict = judged_answer(_status(error), answer.get("Code", ""), answer.get("Message", ""))
        return Unauthenticated(verdict.code, f"{_CREDENTIALS} ({_text(error, '')})")
    if isinstance(error, aws.CredentialRetrievalError | aws.TokenRetrievalError):
        # Without its message: it repeats what the program or the server has said, which may be a secret.
        said = f"{error.kwargs.get('provider', 'their source')} gives none at the moment"
    elif isinstance(error, aws.BotoCoreError):
        said = _text(error, "")
    else:
        said = name
    return Unauthenticated(name, f"{_CREDENTIALS} ({said})")


_CREDENTIAL_ERRORS = (
    aws.NoCredentialsError,
    aws.MetadataRetrievalError,
    aws.PartialCredentialsError,
    aws.CredentialRetrievalError,
    aws.UnknownCredentialError,
    aws.NoAuthTokenError,
    aws.TokenRetrievalError,
    aws.RefreshWithMFAUnsupportedError,
    aws.InvalidConfigError,
    aws.SSOError,
    aws.UnauthorizedSSOTokenError,
)


def _while_connecting(error: Exception, phone: str) -> ConnectError:
    """No name, no route, no handshake, no tunnel. Nothing was written."""
    name = type(error).__name__
    for link in (error, *_links(error)):
        if isinstance(link, aws.InvalidProxiesConfigError):
            return Misconfigured(name, f"check the proxy settings ({_text(link, phone)})")
        # A certificate that does not verify, a file of certificates that is not there: for every call.
        if isinstance(link, ssl.SSLCertVerificationError | FileNotFoundError):
            return Misconfigured(
                name, f"check AWS_ENDPOINT_URL_CONNECT and AWS_CA_BUNDLE ({_text(error, phone)})"
            )
    return NeverSent(name, f"no connection ({_text(error, phone)})")


def _after_sending(error: Exception, phone: str) -> ConnectError:
    """An answer, or a failure on the way to one."""
    if isinstance(error, aws.ClientError):
        return _judged_response(error, phone)
    if caused_by(error, AnswerTooLarge):
        return OddAnswer("AnswerTooLarge", f"{_MAYBE}; the answer has no end")
    return Ambiguous(type(error).__name__, f"{_MAYBE}; {_text(error, phone)}")


def caused_by(error: Exception, kind: type[Exception]) -> bool:
    """Whether an error is of that kind, or wraps one that is."""
    return any(isinstance(link, kind) for link in (error, *_links(error)))


def _links(error: Exception) -> Iterator[BaseException]:
    """The errors inside an error of botocore's. Not `__context__`: that may belong to an earlier request."""
    todo: list[object] = [error.kwargs.get("error")] if isinstance(error, aws.BotoCoreError) else []
    seen: list[BaseException] = []
    while todo:
        link = todo.pop()
        if isinstance(link, BaseException) and not any(link is known for known in seen):
            seen.append(link)
            yield link
            todo += [link.__cause__, *link.args]


def _judged_response(error: aws.ClientError, phone: str) -> ConnectError:
    answer = error.response.get("Error", {})
    ahead = aws_ahead(error.response, wall_clock())
    return judged_answer(
        _status(error), answer.get("Code", ""), answer.get("Message", ""), phone, ahead=ahead
    )


def _told(value: object) -> str:
    """What an answer says, of which the beginning is enough; a word of another type is none."""
    return value[:_LONGEST_SAID] if isinstance(value, str) else ""


def _status(error: aws.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


# --- what may be written down -----------------------------------------------------------------------------

_LONGEST_TEXT = 300
_LONGEST_SAID = 10_000
_LONGEST_CODE = 100
_NUMBER = re.compile(r"\+[1-9][0-9 ().-]{5,20}[0-9]")
_KEY_ID = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{8,}")
_USER_INFO = re.compile(r"//[^/@\s]+@")
_VALUE = re.compile(r"value: .*?(?=, type:|, valid|$)", re.MULTILINE | re.DOTALL)


def _text(error: BaseException, phone: str) -> str:
    return _clean(_VALUE.sub("value: •••", str(error)[:_LONGEST_SAID]), phone) or type(error).__name__


def _clean(text: str, phone: str) -> str:
    """At most 300 visible characters, without telephone numbers, access key ids and passwords in URLs."""
    if phone:
        text = re.sub(rf"\+?{re.escape(phone.lstrip('+'))}", masked(phone), text)
    text = _NUMBER.sub(lambda number: masked("+" + re.sub(r"\D", "", number[0])), text)
    text = _KEY_ID.sub("•••", text)
    text = _USER_INFO.sub("//", text)
    return visible(" ".join(text.split()))[:_LONGEST_TEXT]
