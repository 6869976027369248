"""SearchContacts over the calls. Rows carry a name, but no number and no attributes, as in Connect."""

from bisect import bisect_left, bisect_right
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from worker.sandbox.checks import Body, invalid, read
from worker.sandbox.describe import arn
from worker.sandbox.exchange import Call, Exchange

_EIGHT_WEEKS = 8 * 7 * 86_400
# Contact search shows the first 10,000 results of a query and no more (admin guide).
_MOST_RESULTS = 10_000
_FROM = "from-"


class TimeRange(Body):
    """Seconds since 1970; both ends belong to the range."""

    type: Literal[
        "INITIATION_TIMESTAMP",
        "SCHEDULED_TIMESTAMP",
        "CONNECTED_TO_AGENT_TIMESTAMP",
        "DISCONNECT_TIMESTAMP",
        "ENQUEUE_TIMESTAMP",
    ]
    start_time: float
    end_time: float


class AttributeCriterion(Body):
    """One attribute has one of these values."""

    key: str
    values: list[str] = Field(max_length=20)


class AttributeCriteria(Body):
    """Several of them, and how they combine."""

    criteria: list[AttributeCriterion] = Field(max_length=15)
    match_type: Literal["MATCH_ALL", "MATCH_ANY", "MATCH_EXACT", "MATCH_NONE"] = "MATCH_ALL"


class NameCriterion(Body):
    """The contact's name is one of these texts."""

    search_text: list[Annotated[str, StringConstraints(max_length=128)]] = Field(max_length=100)
    match_type: Literal["MATCH_ALL", "MATCH_ANY", "MATCH_EXACT", "MATCH_NONE"]


class SearchCriteria(Body):
    """The criteria that this sandbox knows; others are refused rather than ignored."""

    model_config = ConfigDict(extra="forbid")

    initiation_methods: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    queue_ids: tuple[str, ...] = ()
    searchable_contact_attributes: AttributeCriteria | None = None
    name: NameCriterion | None = None


class Sort(Body):
    """Only the time of initiation can be sorted by."""

    field_name: Literal["INITIATION_TIMESTAMP"] = "INITIATION_TIMESTAMP"
    order: Literal["ASCENDING", "DESCENDING"] = "DESCENDING"


class SearchRequest(Body):
    """A checked SearchContacts."""

    instance_id: str = Field(min_length=1, max_length=100)
    time_range: TimeRange
    search_criteria: SearchCriteria = SearchCriteria()
    max_results: int = Field(default=100, ge=1, le=100)
    next_token: str | None = None
    sort: Sort = Sort()


def check(body: bytes) -> SearchRequest:
    """Check a SearchContacts. Raises ApiError."""
    asked = read(SearchRequest, body)
    length = asked.time_range.end_time - asked.time_range.start_time
    if not 0 <= length <= _EIGHT_WEEKS:
        raise invalid("TimeRange: EndTime must lie after StartTime, and within eight weeks of it")
    return asked


def search(
    exchange: Exchange,
    asked: SearchRequest,
    now: float,
    *,
    delay_seconds: float = 0.0,
    only_ended: bool = False,
) -> dict[str, Any]:
    """One page of what matches, newest first unless asked otherwise. Raises ApiError for a strange NextToken.

    Calls placed (with `only_ended`: ended) less than `delay_seconds` ago are not found yet. `TotalCount`
    counts every match, but the pages hold the first 10,000 of them only.
    """
    until = now - delay_seconds
    found = [
        index
        for index in _in_time(exchange, asked, until)
        if _matches(exchange.calls[index], asked) and not (only_ended and exchange.calls[index].alive(until))
    ]
    descending = asked.sort.order == "DESCENDING"
    if descending:
        found.reverse()
    total, found = len(found), found[:_MOST_RESULTS]
    # The token names the index at which the next page begins, so calls placed meanwhile shift nothing.
    begin = _position(asked.next_token)
    rest = found if begin is None else [i for i in found if (i <= begin if descending else i >= begin)]
    page, more = rest[: asked.max_results], rest[asked.max_results :]
    answer: dict[str, Any] = {
        "Contacts": [_row(exchange, index, now) for index in page],
        "TotalCount": total,
    }
    if more:
        answer["NextToken"] = f"{_FROM}{more[0]}"
    return answer


def _in_time(exchange: Exchange, asked: SearchRequest, until: float) -> list[int]:
    calls, window = exchange.calls, asked.time_range
    known = bisect_right(calls, until, key=lambda call: call.placed_at)
    if window.type == "INITIATION_TIMESTAMP":
        first = bisect_left(calls, window.start_time, key=lambda call: call.placed_at)
        last = bisect_right(calls, window.end_time, key=lambda call: call.placed_at)
        return list(range(first, min(last, known)))
    if window.type == "DISCONNECT_TIMESTAMP":
        end = min(window.end_time, until)
        return [i for i in range(known) if window.start_time <= calls[i].ended_at <= end]
    return []  # No call here is scheduled, queued or connected to an agent.


def _matches(call: Call, asked: SearchRequest) -> bool:
    wanted = asked.search_criteria
    return (
        call.common.instance_id == asked.instance_id
        and (not wanted.initiation_methods or "API" in wanted.initiation_methods)
        and (not wanted.channels or "VOICE" in wanted.channels)
        and (not wanted.queue_ids or call.common.queue_id in wanted.queue_ids)
        and (wanted.searchable_contact_attributes is None or _has(call, wanted.searchable_contact_attributes))
        and (wanted.name is None or _is_named(call, wanted.name))
    )


def _is_named(call: Call, wanted: NameCriterion) -> bool:
    if wanted.match_type == "MATCH_EXACT":
        return call.common.name in wanted.search_text
    hits = [text in (call.common.name or "") for text in wanted.search_text]
    match wanted.match_type:
        case "MATCH_ANY":
            return any(hits)
        case "MATCH_NONE":
            return not any(hits)
        case _:
            return all(hits)


def _has(call: Call, wanted: AttributeCriteria) -> bool:
    attributes = call.attribute_map()
    hits = [attributes.get(criterion.key) in criterion.values for criterion in wanted.criteria]
    match wanted.match_type:
        case "MATCH_ANY":
            return any(hits)
        case "MATCH_NONE":
            return not any(hits)
        case _:
            return all(hits)


def _row(exchange: Exchange, index: int, now: float) -> dict[str, Any]:
    call = exchange.calls[index]
    contact_id = exchange.contact_id(index)
    row: dict[str, Any] = {
        "Arn": arn(call.common.instance_id, contact_id),
        "Id": contact_id,
        "InitiationMethod": "API",
        "Channel": "VOICE",
        "InitiationTimestamp": round(call.placed_at, 3),
    }
    if call.common.name:
        row["Name"] = call.common.name
    if not call.alive(now):
        row["DisconnectTimestamp"] = round(call.ended_at, 3)
    return row


def _position(token: str | None) -> int | None:
    if token is None:
        return None
    digits = token.removeprefix(_FROM)
    if digits == token or not (digits.isascii() and digits.isdigit()):
        raise invalid("NextToken: is not one that this API gave")
    return int(digits)
