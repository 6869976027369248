"""A pasted GUID, ARN or console URL → the GUID that Connect's API wants."""

import re
from urllib.parse import unquote

_GUID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_PLACES = {"instance": "instances?", "contact flow": "contact-flow", "queue": "queue"}


def instance_id(text: str) -> str:
    """The GUID of an instance. Raises ValueError, saying where to find it."""
    return _guid(text, "instance", 'the part after "instance/" in its ARN')


def contact_flow_id(text: str) -> str:
    """The GUID of a contact flow. Raises ValueError, saying where to find it."""
    return _guid(text, "contact flow", 'the part after "contact-flow/" in the address of the flow designer')


def queue_id(text: str) -> str:
    """The GUID of a queue. Raises ValueError, saying where to find it."""
    return _guid(text, "queue", 'the part after "queue/" in the address of the queue editor')


def _guid(text: str, kind: str, where: str) -> str:
    # Addresses copied from a browser have the ARN in a query string, percent-encoded.
    plain = unquote(text).strip()
    if re.fullmatch(_GUID, plain):
        return plain.lower()
    found = {k: re.findall(rf"{place}/({_GUID})", plain) for k, place in _PLACES.items()}
    if found[kind]:
        return str(found[kind][-1]).lower()
    others = [k for k in ("contact flow", "queue", "instance") if found[k]]
    hint = f"this names a {others[0]}; " if others else ""
    raise ValueError(f"{hint}expected the GUID of the {kind}: {where}")
