"""A pasted GUID, ARN or console URL → the GUID that Connect's API wants, and where in AWS it is."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

_GUID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_KINDS = {"instance": "instances?", "contact flow": "contact-flow", "queue": "queue"}
_KEYS = {"instance_id": "instance", "contact_flow_id": "contact flow", "queue_id": "queue"}

_ARN = re.compile(
    rf"arn:aws[a-z-]*:connect:(?P<region>[a-z0-9-]+):(?P<account>[0-9]{{12}}):instance/(?P<instance>{_GUID})"
)
_CONSOLE = re.compile(
    r"//(?P<host>[a-z]{2}-[a-z-]+-[0-9])\.console\.|[?&]region=(?P<asked>[a-z]{2}-[a-z-]+-[0-9])"
)

REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]{1,2}")
"""What a Region's name looks like: `eu-central-1`, `us-gov-west-1`."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """What a pasted text says of where it is; None where it says nothing."""

    region: str | None = None
    account: str | None = None
    instance: str | None = None
    """The instance's GUID, in lower case."""


def instance_id(text: str) -> str:
    """The GUID of an instance. Raises ValueError, saying where to find it."""
    return _guid(text, "instance", 'the part after "instance/" in its ARN')


def contact_flow_id(text: str) -> str:
    """The GUID of a contact flow. Raises ValueError, saying where to find it.

    Also for one with a version or an alias, such as `…:$SAVED`: without it another flow would be heard.
    """
    return _guid(text, "contact flow", 'the part after "contact-flow/" in the address of the flow designer')


def queue_id(text: str) -> str:
    """The GUID of a queue. Raises ValueError, saying where to find it."""
    return _guid(text, "queue", 'the part after "queue/" in the address of the queue editor')


def region_of(pasted: Mapping[str, object], region: object = None) -> str | None:
    """The Region that the texts of `instance_id`, `contact_flow_id` and `queue_id` name; None if none does.

    region: as the file says it itself. Raises ValueError where two of them are not of one instance, account
    and Region.
    """
    texts = {key: text for key in _KEYS if isinstance(text := pasted.get(key), str)}
    found = {key: whereabouts(text) for key, text in texts.items()}
    ids = {key: each.instance for key, each in found.items() if each.instance is not None}
    if "instance_id" in texts and (bare := re.fullmatch(_GUID, unquote(texts["instance_id"]).strip())):
        ids = {"instance_id": bare[0].lower(), **ids}
    _refuse_different("instance", ids)
    _refuse_different("account", {key: each.account for key, each in found.items() if each.account})
    regions = {key: each.region for key, each in found.items() if each.region}
    _refuse_different("Region", ({"region": region} if isinstance(region, str) else {}) | regions)
    return region if isinstance(region, str) else next(iter(regions.values()), None)


def whereabouts(text: str) -> Whereabouts:
    """What an ARN or a console's address says of Region, account and instance. Raises nothing."""
    plain = unquote(text)
    if arn := _ARN.search(plain):
        return Whereabouts(arn["region"], arn["account"], arn["instance"].lower())
    console = _CONSOLE.search(plain)
    instance = re.search(rf"/instances?/({_GUID})", plain)
    return Whereabouts(
        region=(console["host"] or console["asked"]) if console else None,
        instance=instance[1].lower() if instance else None,
    )


def refuse_one_for_another(pasted: Mapping[str, object]) -> None:
    """Raises ValueError where the instance's id stands for the flow, or one id for two things."""
    seen: dict[str, str] = {}
    for key in _KEYS:
        text = pasted.get(key)
        guids = re.findall(_GUID, unquote(text).lower()) if isinstance(text, str) else []
        if not guids:
            continue
        if guids[-1] in seen:
            raise ValueError(
                f"{key} is the id of the {_KEYS[seen[guids[-1]]]}; write that of the {_KEYS[key]} itself"
            )
        seen[guids[0] if key == "instance_id" else guids[-1]] = key


def _refuse_different(what: str, said: Mapping[str, str]) -> None:
    """Raises ValueError where two keys do not say the same."""
    for (one, first), (other, second) in zip(said.items(), list(said.items())[1:], strict=False):
        if first != second:
            raise ValueError(
                f"{one} is of the {what} {first}, and {other} of the {what} {second}; "
                "take both from the same one, as a call cannot use two"
            )


def _guid(text: str, kind: str, where: str) -> str:
    # Addresses copied from a browser have the ARN in a query string, percent-encoded.
    plain = unquote(text).strip()
    if re.fullmatch(_GUID, plain):
        return plain.lower()
    expected = f"expected the GUID of the {kind}: {where}"
    found = {k: re.findall(rf"{place}/({_GUID})(\S*)", plain) for k, place in _KINDS.items()}
    if not found[kind]:
        if bare := re.fullmatch(rf"({_GUID})(\S+)", plain):
            raise ValueError(_with_more(kind, bare[2], expected))
        others = [k for k in ("contact flow", "queue", "instance") if found[k]]
        named = f"this names {'an' if others[0] == 'instance' else 'a'} {others[0]}; " if others else ""
        raise ValueError(named + expected)
    if len({guid.lower() for guid, _ in found[kind]}) > 1:
        raise ValueError(f"this names more than one {kind}; {expected}")
    guid, rest = found[kind][-1]
    # After an instance stands what is inside of it; after the others, perhaps, which version is meant.
    harmless = r"[/?&#].*" if kind == "instance" else r"/?(edit|view)?/?([?&#].*)?"
    if not re.fullmatch(harmless, rest or "/") or (kind != "instance" and re.search(_VERSION, rest)):
        raise ValueError(_with_more(kind, rest, expected))
    return str(guid).lower()


_VERSION = re.compile(r"[?&#](version|alias|versionId|aliasId|flowVersion)=|\$(SAVED|LATEST)", re.IGNORECASE)


def _with_more(kind: str, rest: str, expected: str) -> str:
    shown = rest[:40]
    if rest[:1].isalnum():
        return expected
    if kind == "contact flow":
        return f"{shown} names a version or an alias, and calls use the published flow; remove that part"
    return f"{shown} stands after the GUID of the {kind}; remove that part"
