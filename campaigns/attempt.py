"""States, outcomes and legal moves. docs/life-of-a-call.md draws them."""

from enum import StrEnum


class AttemptState(StrEnum):
    """Where one ring for one recipient stands."""

    QUEUED = "queued"
    """Claimed by the feed; a Celery task for it is, or was, on its way."""
    RETURNED = "returned"
    """Back in the ledger without having rung. Keeps its number and its token, and will be queued again."""
    DIALING = "dialing"
    """The request may be on the wire. Written durably before it leaves."""
    PLACED = "placed"
    """Connect answered with a contact_id."""
    ENDED = "ended"
    """The call is over and its outcome is known (or is `no_outcome`)."""
    REFUSED = "refused"
    """Connect refused this call; it never rang."""
    UNKNOWN = "unknown"
    """It may have rung, and nobody can tell yet."""


class RecipientState(StrEnum):
    """Every accepted row is in exactly one of these at all times."""

    WAITING = "waiting"
    IN_PROGRESS = "in_progress"
    DONE = "done"
    HELD = "held"
    SUPPRESSED = "suppressed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    DROPPED = "dropped"
    """Taken out, by an operator or by a list without them. Can be put back."""


class RunState(StrEnum):
    """Where one execution of a campaign stands."""

    LOADED = "loaded"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    CANCELLED = "cancelled"


class Outcome(StrEnum):
    """How an attempt ended (Connect's fields say *disposition*)."""

    HUMAN_ANSWERED = "human_answered"
    ANSWERED = "answered"
    VOICEMAIL = "voicemail"
    NO_ANSWER = "no_answer"
    BUSY = "busy"
    UNREACHABLE = "unreachable"
    INVALID_NUMBER = "invalid_number"
    BLOCKED = "blocked"
    FAX = "fax"
    STOPPED = "stopped"
    """It was hung up from our side before anybody had picked up."""
    NO_OUTCOME = "no_outcome"


LEGAL_MOVES: dict[AttemptState, frozenset[AttemptState]] = {
    AttemptState.QUEUED: frozenset({AttemptState.RETURNED, AttemptState.DIALING}),
    AttemptState.RETURNED: frozenset({AttemptState.QUEUED}),
    AttemptState.DIALING: frozenset(
        {AttemptState.RETURNED, AttemptState.PLACED, AttemptState.REFUSED, AttemptState.UNKNOWN}
    ),
    # A worker that was paused can still bring the answer after rescue gave its attempt up.
    AttemptState.UNKNOWN: frozenset({AttemptState.PLACED, AttemptState.RETURNED, AttemptState.REFUSED}),
    AttemptState.PLACED: frozenset({AttemptState.ENDED}),
    # Given up for want of a word, and then Connect says that it goes on.
    AttemptState.ENDED: frozenset({AttemptState.PLACED}),
    AttemptState.REFUSED: frozenset(),
}
