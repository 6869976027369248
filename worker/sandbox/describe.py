"""DescribeContact's view of a call."""

from typing import Any

from worker.sandbox.exchange import Call


def contact_view(call: Call, contact_id: str, now: float) -> dict[str, Any]:
    """What DescribeContact says of it at `now`: nothing that has not happened yet."""
    common, over = call.common, not call.alive(now)
    connected = call.answered_at is not None and call.answered_at <= now
    view: dict[str, Any] = {
        "Arn": arn(common.instance_id, contact_id),
        "Id": contact_id,
        "InitiationMethod": "API",
        "Channel": "VOICE",
        "InitiationTimestamp": round(call.placed_at, 3),
        "LastUpdateTimestamp": round(call.placed_at, 3),
        "CustomerEndpoint": {"Type": "TELEPHONE_NUMBER", "Address": call.destination},
        "Attributes": call.attribute_map(),
    }
    optional = {
        "Name": common.name,
        "Description": common.description,
        "RelatedContactId": common.related_contact_id,
        "Campaign": common.campaign_id and {"CampaignId": common.campaign_id},
        "QueueInfo": common.queue_id and {"Id": common.queue_id},
        "SystemEndpoint": common.source and {"Type": "TELEPHONE_NUMBER", "Address": common.source},
    }
    view.update((name, value) for name, value in optional.items() if value)
    if connected and call.answered_at is not None:
        view["ConnectedToSystemTimestamp"] = view["LastUpdateTimestamp"] = round(call.answered_at, 3)
    if over:
        view["DisconnectTimestamp"] = view["LastUpdateTimestamp"] = round(call.ended_at, 3)
        view["DisconnectReason"] = "API" if call.stopped else call.ending.reason
    if call.detection and call.ending.detected and (connected or (over and not call.stopped)):
        view["AnsweringMachineDetectionStatus"] = call.ending.detected
    return view


def arn(instance_id: str, contact_id: str) -> str:
    """The contact's Amazon Resource Name, in a Region and an account that do not exist."""
    return f"arn:aws:connect:sandbox-1:000000000000:instance/{instance_id}/contact/{contact_id}"
