"""The [connect] of a campaign's file: what every call asks of Amazon Connect."""

import re
from typing import Annotated, Any, Literal, Self

import phonenumbers
from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from campaigns import connect_ids
from campaigns.toml_values import Table, from_file

_LONGEST_NUMBER = 250


def _e164(text: str) -> str:
    try:
        number = phonenumbers.parse(text[:_LONGEST_NUMBER])
    except phonenumbers.NumberParseException:
        raise ValueError('expected a number with + and country code, such as "+14155550199"') from None
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    # Some plans (Germany's) have longer ones; Connect takes E.164's 15 digits.
    if not phonenumbers.is_possible_number(number) or len(written) > 16:
        raise ValueError('is not a possible number; expected one such as "+14155550199"')
    return written


E164 = Annotated[str, AfterValidator(_e164)]


class Reference(Table):
    """A link or a note that the agent sees with the call."""

    value: str = Field(max_length=4096)
    type: Literal["URL", "NUMBER", "STRING", "DATE", "EMAIL"] = "URL"

    @model_validator(mode="after")
    def _dated_in_seconds(self) -> Self:
        # API reference, Reference: a DATE is an epoch timestamp in seconds.
        if self.type == "DATE" and not re.fullmatch(r"[0-9]{1,12}", self.value):
            raise ValueError("a DATE is written in seconds since 1970, such as 1764547200")
        return self


_REFERENCES_BYTES = 4096
"""API reference of StartOutboundVoiceContact: over all references of a contact."""


TOKEN_IN_NAME = "{client_token}"  # noqa: S105 (a placeholder, no password)
"""What `name` holds where each call's client token is to stand."""

TOKEN_LENGTH = 64
"""Characters of a client token."""


class ConnectOptions(Table):
    """What every call of the campaign asks of Connect. Names follow StartOutboundVoiceContact."""

    instance_id: Annotated[str, AfterValidator(connect_ids.instance_id)]
    contact_flow_id: Annotated[str, AfterValidator(connect_ids.contact_flow_id)]
    region: str | None = None
    """The instance's AWS Region; None: that of the machine that dials. ARNs say it, too."""
    source_phone_number: E164 | None = None
    queue_id: Annotated[str, AfterValidator(connect_ids.queue_id)] | None = None
    ring_timeout_seconds: int | None = Field(default=None, ge=15, le=60)
    traffic_type: Literal["GENERAL", "CAMPAIGN"] | None = None
    answering_machine_detection: bool = False
    await_answering_machine_prompt: bool = False
    campaign_id: str | None = Field(default=None, min_length=1, max_length=100)
    name: str | None = Field(default=None, max_length=1024)
    description: str | None = Field(default=None, max_length=4096)
    references: dict[str, Reference] = Field(default_factory=dict)
    related_contact_id: str | None = Field(default=None, min_length=1, max_length=256)
    search_attribute: str | None = None
    """A contact attribute that takes each call's client token. The instance must list it as searchable; then
    a call whose answer got lost is found at once, and told from every other call to the same number."""

    @property
    def token_in_name(self) -> bool:
        """Whether the name of each call holds its client token."""
        return self.name is not None and TOKEN_IN_NAME in self.name

    def name_of(self, client_token: str) -> str | None:
        """The name of an attempt's call, if the campaign's calls have one."""
        return self.name.replace(TOKEN_IN_NAME, client_token) if self.name is not None else None

    @model_validator(mode="before")
    @classmethod
    def _of_one_instance(cls, value: Any, info: ValidationInfo) -> Any:
        """Here the ARNs still stand as they were pasted; what remains of them are GUIDs, and the Region."""
        if not isinstance(value, dict):
            return value
        if from_file(info):
            connect_ids.refuse_one_for_another(value)
        region = connect_ids.region_of(value, value.get("region"))
        return value if region is None else {**value, "region": region}

    @field_validator("region")
    @classmethod
    def _like_a_region(cls, region: str | None) -> str | None:
        if region is not None and not connect_ids.REGION.fullmatch(region):
            raise ValueError('expected an AWS Region, such as "us-east-1"')
        return region

    @field_validator("search_attribute")
    @classmethod
    def _attribute_can_be_searched_for(cls, name: str | None) -> str | None:
        # API reference, SearchableContactAttributesCriteria: a key has 100 characters at most.
        if name is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", name):
            raise ValueError("expected letters, digits, - and _, 100 at most, such as DialerToken")
        return name

    @field_validator("references")
    @classmethod
    def _references_fit(cls, references: dict[str, Reference]) -> dict[str, Reference]:
        size = sum(len(name.encode()) + len(each.value.encode()) for name, each in references.items())
        if size > _REFERENCES_BYTES:
            raise ValueError(
                f"names and values have {size:,} bytes in all, and Connect takes {_REFERENCES_BYTES:,}; "
                "shorten them"
            )
        return references

    @field_validator("name")
    @classmethod
    def _name_can_be_searched_for(cls, name: str | None) -> str | None:
        if name is None or TOKEN_IN_NAME not in name:
            return name
        if name.count(TOKEN_IN_NAME) > 1:
            raise ValueError(f"has {TOKEN_IN_NAME} more than once; once is enough")
        if re.search(rf"[0-9a-f]{re.escape(TOKEN_IN_NAME)}|{re.escape(TOKEN_IN_NAME)}[0-9a-f]", name):
            raise ValueError(f"put a space between {TOKEN_IN_NAME} and what stands beside it")
        # API reference, NameCriteria: Connect searches for texts of at most 128 characters.
        room = 128 - TOKEN_LENGTH
        if len(name) - len(TOKEN_IN_NAME) > room:
            raise ValueError(f"beside {TOKEN_IN_NAME} there is room for {room} characters")
        return name

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.source_phone_number is None and self.queue_id is None:
            raise ValueError("needs source_phone_number or queue_id: the number that people see")
        if self.answering_machine_detection and self.traffic_type != "CAMPAIGN":
            raise ValueError('answering_machine_detection needs traffic_type = "CAMPAIGN"')
        if self.await_answering_machine_prompt and not self.answering_machine_detection:
            raise ValueError("await_answering_machine_prompt needs answering_machine_detection = true")
        return self
