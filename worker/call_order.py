"""One attempt's call → the parameters of StartOutboundVoiceContact, or why AWS would refuse them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from campaigns.connect_options import ConnectOptions
from worker.connect_errors import Refused


@dataclass(frozen=True, slots=True)
class CallOrder:
    """One attempt to ring one number."""

    phone: str
    """E.164."""
    client_token: str
    """The attempt's own token, 1 to 500 characters."""
    attributes: Mapping[str, str]
    """What the flow may read: at most 32,768 UTF-8 bytes over all keys and values."""
    options: ConnectOptions


# From the API reference of StartOutboundVoiceContact. botocore checks types only, and would send "abc".
_E164 = re.compile(r"\+[1-9][0-9]{1,14}")
_ATTRIBUTE_NAME = re.compile(r"[A-Za-z0-9_-]{1,32767}")
_ATTRIBUTE_BYTES = 32_768
_TOKEN_LENGTH = 500


def request_of(order: CallOrder) -> dict[str, Any]:
    """The parameters of StartOutboundVoiceContact for an order. Raises Refused for what AWS would refuse."""
    options = order.options
    if not _E164.fullmatch(order.phone):
        raise Refused("InvalidPhoneNumber", "the number is not in the E.164 form, such as +14155550100")
    # Without a token the SDK would invent one, and AWS could not tell a repetition from a new call.
    if not 1 <= len(order.client_token) <= _TOKEN_LENGTH:
        raise Refused("InvalidClientToken", "the client token must have 1 to 500 characters")
    attributes = dict(order.attributes)
    if options.search_attribute is not None:
        attributes[options.search_attribute] = order.client_token
    _check_attributes(attributes)
    request: dict[str, Any] = {
        "InstanceId": options.instance_id,
        "ContactFlowId": options.contact_flow_id,
        "DestinationPhoneNumber": order.phone,
        "ClientToken": order.client_token,
    }
    optional: dict[str, Any] = {
        "SourcePhoneNumber": options.source_phone_number,
        "QueueId": options.queue_id,
        "Attributes": attributes or None,
        "RingTimeoutInSeconds": options.ring_timeout_seconds,
        "TrafficType": options.traffic_type,
        "CampaignId": options.campaign_id,
        "Name": options.name_of(order.client_token),
        "Description": options.description,
        "RelatedContactId": options.related_contact_id,
        "References": {
            name: {"Value": reference.value, "Type": reference.type}
            for name, reference in options.references.items()
        }
        or None,
    }
    if options.answering_machine_detection:
        optional["AnswerMachineDetectionConfig"] = {
            "EnableAnswerMachineDetection": True,
            "AwaitAnswerMachinePrompt": options.await_answering_machine_prompt,
        }
    return request | {name: value for name, value in optional.items() if value is not None}


def _check_attributes(attributes: Mapping[str, str]) -> None:
    size = 0
    for name, value in attributes.items():
        if not _ATTRIBUTE_NAME.fullmatch(name):
            raise Refused("InvalidAttributes", f"attribute {name[:40]!r}: letters, digits, - and _ only")
        try:
            size += len(name.encode()) + len(value.encode())
        except (UnicodeEncodeError, AttributeError):
            raise Refused(
                "InvalidAttributes", f"attribute {name[:40]!r} is not text that can be sent"
            ) from None
    if size > _ATTRIBUTE_BYTES:
        raise Refused(
            "InvalidAttributes", f"the attributes have {size:,} bytes; {_ATTRIBUTE_BYTES:,} is the limit"
        )
