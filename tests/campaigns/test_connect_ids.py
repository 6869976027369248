"""What people paste from the console → the GUID that the API wants."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.connect_ids import contact_flow_id, instance_id, queue_id, refuse_one_for_another, region_of

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


@pytest.mark.parametrize(
    "pasted",
    [
        f"{FLOW}:1",
        f"{FLOW}:$SAVED",
        f"{FLOW}:live",
        f"{FLOW}/alias/live",
        f"{ARN}/contact-flow/{FLOW}:3",
        f"{ARN}/contact-flow/{FLOW}:$LATEST",
        f"{ARN}/contact-flow/{FLOW}/alias/0f7e3a52-6c7b-4d7e-9d7b-0a4c1b2d3e4f",
        f"{ARN}/contact-flow/{FLOW}/version/2",
        f"{FLOW_URL}&version=2",
        f"{FLOW_URL}:$SAVED",
        f"{ENCODED}%3A%24SAVED",
    ],
)
def test_a_version_or_an_alias_is_never_dropped(pasted: str) -> None:
    """Without it another flow would be heard than the one that was named."""
    with pytest.raises(ValueError, match=r"names a version or an alias.*remove that part"):
        contact_flow_id(pasted)


@given(st.text(st.characters(codec="ascii"), min_size=1, max_size=12))
def test_what_follows_the_flow_is_harmless_or_refused(more: str) -> None:
    """Of an ARN's end nothing is ignored but the rest of an address."""
    try:
        contact_flow_id(f"{ARN}/contact-flow/{FLOW}{more}")
    except ValueError:
        return
    assert more.strip()[:1] in ("", "/", "?", "&", "#") or more[0].isspace()
    assert ":" not in more.split("?")[0].split("&")[0].split("#")[0] or more[0].isspace()


@pytest.mark.parametrize(
    "kind", ["agent", "transfer-destination", "prompt", "flow-module", "contact-flow-module"]
)
@pytest.mark.parametrize("read", [contact_flow_id, queue_id])
def test_what_is_neither_is_refused(read: Callable[[str], str], kind: str) -> None:
    """The id of an agent or of a module is none of a flow, though it is in the same instance."""
    with pytest.raises(ValueError, match="this names an instance"):
        read(f"{ARN}/{kind}/{FLOW}")


def test_two_flows_in_one_text_are_refused() -> None:
    """Which of two was meant is the operator's to say."""
    with pytest.raises(ValueError, match="more than one contact flow"):
        contact_flow_id(f"{ARN}/contact-flow/{FLOW} {ARN}/contact-flow/{QUEUE}")


OTHER = "99999999-f57e-4d4c-b602-bf39176ced07"


@pytest.mark.parametrize(
    ("flow", "says"),
    [
        (ARN.replace(INSTANCE, OTHER) + f"/contact-flow/{FLOW}", f"of the instance {OTHER}"),
        (
            ARN.replace("123456789012", "210987654321") + f"/contact-flow/{FLOW}",
            "of the account 210987654321",
        ),
        (ARN.replace("eu-central-1", "us-east-1") + f"/contact-flow/{FLOW}", "of the Region us-east-1"),
    ],
)
@pytest.mark.parametrize("key", ["contact_flow_id", "queue_id"])
def test_all_is_of_one_instance(flow: str, says: str, key: str) -> None:
    """A flow or a queue of another instance, account or Region can be none of this campaign's."""
    pasted = flow.replace("contact-flow", "queue") if key == "queue_id" else flow
    with pytest.raises(ValueError, match=says.replace("contact_flow_id", key)):
        region_of({"instance_id": ARN, key: pasted})


@pytest.mark.parametrize("instance", [INSTANCE, ARN, f"{ARN}/contact-flow/{FLOW}"])
@pytest.mark.parametrize("pasted", [INSTANCE, INSTANCE.upper(), ARN, f" {INSTANCE} "])
@pytest.mark.parametrize("key", ["contact_flow_id", "queue_id"])
def test_the_instance_does_not_stand_for_what_is_in_it(key: str, pasted: str, instance: str) -> None:
    """The GUIDs look alike, and Connect would say no more than that there is no such resource."""
    with pytest.raises(ValueError, match=f"{key} is the id of the instance"):
        refuse_one_for_another({"instance_id": instance, key: pasted})


def test_a_flow_does_not_stand_for_a_queue() -> None:
    """One id is that of one thing; different ids are taken."""
    refuse_one_for_another({"instance_id": ARN, "contact_flow_id": FLOW_URL, "queue_id": QUEUE})
    with pytest.raises(ValueError, match="queue_id is the id of the contact flow; write that of the queue"):
        refuse_one_for_another({"instance_id": ARN, "contact_flow_id": FLOW_URL, "queue_id": FLOW})


def test_a_bare_instance_is_compared_with_the_flows() -> None:
    """The GUID alone is enough to see that the flow is another instance's."""
    flow = ARN.replace(INSTANCE, OTHER) + f"/contact-flow/{FLOW}"
    with pytest.raises(
        ValueError, match=f"of the instance {INSTANCE}, and contact_flow_id of the instance {OTHER}"
    ):
        region_of({"instance_id": INSTANCE, "contact_flow_id": flow})


@pytest.mark.parametrize(
    ("pasted", "region"),
    [
        ({"instance_id": ARN, "contact_flow_id": FLOW}, "eu-central-1"),
        ({"instance_id": INSTANCE, "contact_flow_id": ENCODED}, "eu-central-1"),
        ({"instance_id": INSTANCE, "queue_id": f"{ARN}/queue/{QUEUE}"}, "eu-central-1"),
        (
            {
                "instance_id": ARN.replace("arn:aws:", "arn:aws-us-gov:").replace(
                    "eu-central-1", "us-gov-west-1"
                )
            },
            "us-gov-west-1",
        ),
        (
            {"instance_id": f"https://us-east-1.console.aws.amazon.com/connect/v2/app/instances/{INSTANCE}"},
            "us-east-1",
        ),
        (
            {
                "instance_id": f"https://console.aws.amazon.com/connect/v2/app/instances/{INSTANCE}?region=eu-west-2"
            },
            "eu-west-2",
        ),
        ({"instance_id": INSTANCE, "contact_flow_id": FLOW, "queue_id": QUEUE}, None),
        ({"instance_id": 7}, None),
        ({}, None),
    ],
)
def test_the_region_is_read_where_it_stands(pasted: dict[str, object], region: str | None) -> None:
    """An ARN or the console's address says in which Region the instance is; a GUID does not."""
    assert region_of(pasted) == region


def test_a_region_that_differs_from_the_files_own_is_refused() -> None:
    """What the file says itself has to agree with its ARNs."""
    with pytest.raises(
        ValueError, match="region is of the Region us-east-1, and instance_id of the Region eu-"
    ):
        region_of({"instance_id": ARN}, "us-east-1")
