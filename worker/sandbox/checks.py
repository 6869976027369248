"""A request's body → what is asked for, or the error that Connect would give.

The constraints are those of the API reference; botocore itself checks almost none of them.
"""

import json
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_pascal

_GUID = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
_ATTRIBUTE_KEY = re.compile(r"[A-Za-z0-9_-]{1,32767}")
_ATTRIBUTE_BYTES = 32_768

Guid = Annotated[str, StringConstraints(pattern=_GUID)]
E164 = Annotated[str, StringConstraints(pattern=r"^\+[1-9][0-9]{1,14}$")]


class ApiError(Exception):
    """An answer with an AWS error in it: HTTP status, error code, message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class Common(NamedTuple):
    """What the calls of one campaign share. Kept once for all of them."""

    instance_id: str
    contact_flow_id: str
    source: str | None = None
    queue_id: str | None = None
    campaign_id: str | None = None
    name: str | None = None
    description: str | None = None
    related_contact_id: str | None = None


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A checked StartOutboundVoiceContact."""

    destination: str
    client_token: str | None
    common: Common
    attributes: dict[str, str]
    ring_timeout_seconds: int
    detection: bool


class Body(BaseModel):
    """A request's fields, under the API's names in snake_case."""

    # Connect takes no notice of fields that it does not know.
    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_pascal)


class _Detection(Body):
    enable_answer_machine_detection: bool = False
    await_answer_machine_prompt: bool = False


class _StartOutbound(Body):
    destination_phone_number: E164
    contact_flow_id: Guid
    instance_id: Guid
    client_token: str | None = Field(default=None, max_length=500)
    source_phone_number: E164 | None = None
    queue_id: Guid | None = None
    attributes: dict[str, str] = {}
    answer_machine_detection_config: _Detection = _Detection()
    campaign_id: str | None = Field(default=None, min_length=1, max_length=100)
    traffic_type: Literal["GENERAL", "CAMPAIGN"] = "GENERAL"
    ring_timeout_in_seconds: int = Field(default=60, ge=15, le=60)
    name: str | None = Field(default=None, max_length=1024)
    description: str | None = Field(default=None, max_length=4096)
    related_contact_id: str | None = Field(default=None, min_length=1, max_length=256)


class _StopContact(Body):
    contact_id: str = Field(min_length=1, max_length=256)
    instance_id: str = Field(min_length=1, max_length=100)


_Model = TypeVar("_Model", bound=BaseModel)


def start_outbound(body: bytes) -> CallRequest:
    """Check a StartOutboundVoiceContact. Raises ApiError."""
    asked = read(_StartOutbound, body)
    if asked.source_phone_number is None and asked.queue_id is None:
        raise ApiError(400, "InvalidRequestException", "SourcePhoneNumber or QueueId must be given")
    detection = asked.answer_machine_detection_config
    if detection.enable_answer_machine_detection and asked.traffic_type != "CAMPAIGN":
        raise ApiError(
            400, "InvalidRequestException", "Answering machine detection needs TrafficType CAMPAIGN"
        )
    _check_attributes(asked.attributes)
    common = Common(
        asked.instance_id,
        asked.contact_flow_id,
        asked.source_phone_number,
        asked.queue_id,
        asked.campaign_id,
        asked.name,
        asked.description,
        asked.related_contact_id,
    )
    return CallRequest(
        asked.destination_phone_number,
        asked.client_token or None,
        common,
        asked.attributes,
        asked.ring_timeout_in_seconds,
        detection.enable_answer_machine_detection,
    )


def stop_contact(body: bytes) -> tuple[str, str]:
    """(instance id, contact id) of a StopContact. Raises ApiError."""
    asked = read(_StopContact, body)
    return asked.instance_id, asked.contact_id


def destination_of(body: bytes) -> tuple[str | None, str | None]:
    """(number, client token) of a body that may be anything: for the journal, of a refused request."""
    try:
        asked: Any = json.loads(body)
        found = asked.get("DestinationPhoneNumber"), asked.get("ClientToken")
    except (ValueError, AttributeError, RecursionError):
        return None, None
    number, token = (value if isinstance(value, str) else None for value in found)
    return number, token


def _check_attributes(attributes: dict[str, str]) -> None:
    for key in attributes:
        if not _ATTRIBUTE_KEY.fullmatch(key):
            raise invalid("Attributes: keys have letters, digits, - and _ only")
    size = sum(len(key.encode()) + len(value.encode()) for key, value in attributes.items())
    if size > _ATTRIBUTE_BYTES:
        raise invalid(f"Attributes: {size} bytes, but {_ATTRIBUTE_BYTES} are the most")


def read(model: type[_Model], body: bytes) -> _Model:
    """A body → the model's instance. Raises ApiError naming the first field that is wrong."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise ApiError(400, "SerializationException", "The body is not JSON") from None
        where = ".".join(str(step) for step in first["loc"])
        raise invalid(f"{where}: {first['msg']}") from None


def invalid(message: str) -> ApiError:
    """A value breaks a constraint."""
    return ApiError(400, "InvalidParameterException", message)
