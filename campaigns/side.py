"""Which side dials: Amazon Connect, or the sandbox for a trial."""

from typing import Literal

Exchange = Literal["connect", "sandbox"]
"""What answers the calls: Amazon Connect, or a stand-in that rings nobody."""


def told(exchange: str | None) -> str:
    """`real calls`, `in the sandbox`, or `real or sandbox: not decided`: for headings and tables."""
    match exchange:
        case "connect":
            return "real calls"
        case "sandbox":
            return "in the sandbox"
        case _:
            return "real or sandbox: not decided"


def flag(exchange: str | None) -> str:
    """What a command takes for this side: ` --sandbox`, or nothing."""
    return " --sandbox" if exchange == "sandbox" else ""


def either_way(command: str) -> str:
    """A command with and without `--sandbox`, for what is not decided yet."""
    return f"{command}, or for a trial: {command} --sandbox"
