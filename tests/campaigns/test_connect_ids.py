"""What people paste from the console → the GUID that the API wants."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.connect_ids import contact_flow_id, instance_id, queue_id

INSTANCE = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
FLOW = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
QUEUE = "0f7e3a52-6c7b-4d7e-9d7b-0a4c1b2d3e4f"
ARN = f"arn:aws:connect:eu-central-1:123456789012:instance/{INSTANCE}"
FLOW_URL = f"https://x.my.connect.aws/contact-flows/edit?id={ARN}/contact-flow/{FLOW}"
ENCODED = FLOW_URL.replace(":", "%3A").replace("/", "%2F")


@pytest.mark.parametrize(
    "pasted",
    [
        INSTANCE,
        INSTANCE.upper(),
        f"  {INSTANCE}\n",
        ARN,
        f"{ARN}/contact-flow/{FLOW}",
        f"https://console.aws.amazon.com/connect/v2/app/instances/{INSTANCE}/overview",
    ],
)
def test_instance_is_found(pasted: str) -> None:
    """The GUID itself, an ARN (also one of something inside the instance), or a console address."""
    assert instance_id(pasted) == INSTANCE


@pytest.mark.parametrize(
    "pasted", [FLOW, FLOW.upper(), f"{ARN}/contact-flow/{FLOW}", FLOW_URL, ENCODED, f" {ENCODED} "]
)
def test_flow_is_found(pasted: str) -> None:
    """The GUID, the ARN, or the flow designer's address, percent-encoded or not."""
    assert contact_flow_id(pasted) == FLOW


@pytest.mark.parametrize("pasted", [QUEUE, f"{ARN}/queue/{QUEUE}", f"https://x.my.connect.aws/queue/{QUEUE}"])
def test_queue_is_found(pasted: str) -> None:
    """The GUID, the ARN, or the queue editor's address."""
    assert queue_id(pasted) == QUEUE


@pytest.mark.parametrize(
    ("read", "pasted", "hint"),
    [
        (contact_flow_id, ARN, "this names an? instance"),
        (contact_flow_id, f"{ARN}/queue/{QUEUE}", "this names a queue"),
        (queue_id, f"{ARN}/contact-flow/{FLOW}", "this names a contact flow"),
        (instance_id, f"https://x.my.connect.aws/queue/{QUEUE}", "this names a queue"),
    ],
)
def test_wrong_kind_is_named(read: Callable[[str], str], pasted: str, hint: str) -> None:
    """An id pasted into the wrong line is said to be what it is, instead of being refused by AWS later."""
    with pytest.raises(ValueError, match=hint):
        read(pasted)


@pytest.mark.parametrize("read", [instance_id, contact_flow_id, queue_id])
@pytest.mark.parametrize("pasted", ["", "my-instance", INSTANCE[:-1], INSTANCE + "0", "10a4c4eb"])
def test_nothing_is_guessed(read: Callable[[str], str], pasted: str) -> None:
    """What holds no GUID is refused, with a word on where to find it."""
    with pytest.raises(ValueError, match='the part after "'):
        read(pasted)


@given(st.uuids())
def test_reading_twice_changes_nothing(guid: object) -> None:
    """What was read can be read again."""
    assert instance_id(instance_id(str(guid))) == str(guid)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No paste ends in anything but a GUID or a ValueError."""
    try:
        guid = queue_id(text)
    except ValueError:
        return
    assert len(guid) == 36
