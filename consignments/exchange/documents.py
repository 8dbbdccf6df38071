"""Documents that administrations exchange in an operation: warning, feedback, seizure, sighting and withdrawal.

The first three are the templates of CENcomm as they are described in public: a warning is a profile of a consignment to look for, a
feedback states what was done with a warning, a seizure gives the details of a detection. The forms of CENcomm and IONICS are not
public. The fields are therefore npsrisk's own, named as customs names them. Names, addresses, phones and e-mails leave only as
indicators (`features.indicators`)."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from consignments.errors import MessageFault
from consignments.records import Amount, Channel, Code, Text, Time, about

SCHEMA_VERSION = 1
MAX_INDICATORS = 50
MAX_MESSAGE_ID = 50
MAX_REVISION = 99
Handling = Literal["clear", "green", "amber", "amber+strict", "red"]
"""Code of the Traffic Light Protocol 2.0 (FIRST): who may see the message."""
# `$` also matches before a line end at the end of a text; in a JSON schema it does not, and \Z is unknown there
MessageId = Annotated[str, Meta(min_length=1, max_length=MAX_MESSAGE_ID, pattern=r"^[A-Za-z0-9._-]+$(?!\n)")]
PartnerName = Annotated[str, Meta(min_length=1, max_length=40, pattern=r"^[^\s/#]+$(?!\n)")]
IndicatorText = Annotated[
    str, Meta(pattern=r"^[0-9a-f]{16}:[a-z_]{1,20}/[a-z_]{1,20}:[0-9a-f]{32}$(?!\n)", max_length=100)
]
Indicators = Annotated[tuple[IndicatorText, ...], Meta(max_length=MAX_INDICATORS)]
Count = Annotated[int, Meta(ge=0, le=1_000_000_000)]


class Message(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    omit_defaults=True,
    tag_field="kind",
):
    """The fields that all messages have."""

    message_id: Annotated[MessageId, about("unique among the messages of its author")]
    author: Annotated[PartnerName, about("administration that sends and signs it")]
    issued_at: Annotated[Time, about("when it was signed")]
    handling: Annotated[Handling, about("who may see it: Traffic Light Protocol 2.0")] = "amber"
    operation: Annotated[Code | None, about("operation it belongs to")] = None
    schema_version: Annotated[Literal[1], about("version of the documents")] = SCHEMA_VERSION  # type: ignore[assignment]


class Warning(Message, frozen=True, tag="warning"):
    """A profile of consignments to inspect. All given criteria must match; an indicator matches by itself."""

    expires_at: Annotated[Time, about("end of validity")]
    revision: Annotated[int, about("a higher one replaces the lower ones", ge=1, le=MAX_REVISION)] = 1
    substance_family: Annotated[Code | None, about("family of the expected substances")] = None
    departure_country: Annotated[Code | None, about("country of dispatch")] = None
    route: Annotated[Code | None, about("a part of the route, for example PVG>HKG")] = None
    cover: Annotated[Code | None, about("words of the declared goods; * matches any letters")] = None
    hs_code: Annotated[Code | None, about("declared HS code or its first digits")] = None
    indicators: Annotated[Indicators, about("keyed hashes of parties")] = ()
    text: Annotated[Text | None, about("text for officers, without personal data")] = None


class Seizure(Message, frozen=True, tag="seizure"):
    """The details of one detection."""

    case_reference: Annotated[Code, about("reference of the case at its author", min_length=1)]
    occurred_at: Annotated[Time, about("when it was inspected")]
    expires_at: Annotated[Time, about("end of validity of its indicators")]
    revision: Annotated[int, about("a higher one replaces the lower ones", ge=1, le=MAX_REVISION)] = 1
    office: Annotated[Code | None, about("customs office")] = None
    channel: Annotated[Channel | None, about("mode of transport")] = None
    substance: Annotated[Code | None, about("detected substance")] = None
    substance_family: Annotated[Code | None, about("family of the substance")] = None
    quantity_g: Annotated[Amount | None, about("quantity in grams")] = None
    concealment: Annotated[Code | None, about("how it was hidden")] = None
    departure_country: Annotated[Code | None, about("country of dispatch")] = None
    route: Annotated[Code | None, about("places in order")] = None
    cover: Annotated[Text | None, about("declared goods")] = None
    hs_code: Annotated[Code | None, about("declared HS code")] = None
    indicators: Annotated[Indicators, about("keyed hashes of its parties")] = ()


class Report(Message, frozen=True):
    """The fields of messages about a message of a partner."""

    about_author: Annotated[PartnerName, about("author of the message that it is about")]
    about: Annotated[MessageId, about("`message_id` of the message that it is about")]
    begins_at: Annotated[Time, about("begin of the period")]
    ends_at: Annotated[Time, about("end of the period")]


class Feedback(Report, frozen=True, tag="feedback"):
    """Counts of what a warning or a seizure brought at its receiver in a period."""

    matched: Annotated[Count, about("consignments that it matched")]
    inspected: Annotated[Count, about("of these: presented to inspection")]
    known: Annotated[Count, about("of these: with a final result")]
    found: Annotated[Count, about("of these: with a detection")]


class Sighting(Report, frozen=True, tag="sighting"):
    """Count of the consignments at a receiver that had an indicator of a message, without saying which they were."""

    seen: Annotated[Count, about("consignments with one of its indicators")]
    last_seen_on: Annotated[Code | None, about("day of the last of them, YYYY-MM-DD")] = None


class Withdrawal(Message, frozen=True, tag="withdrawal"):
    """The end of an own message: from its receipt on it matches nothing."""

    about: Annotated[MessageId, about("`message_id` of the own message")]
    reason: Annotated[Text | None, about("why")] = None


AnyMessage = Warning | Seizure | Feedback | Sighting | Withdrawal
decode_message: Callable[[bytes], AnyMessage] = msgspec.json.Decoder(AnyMessage).decode
"""Decodes the JSON of a document; raises `msgspec.DecodeError` if it is not one."""
encode_message: Callable[[AnyMessage], bytes] = msgspec.json.Encoder(order="sorted").encode
"""Encodes a document as canonical JSON: sorted keys, no spaces, defaults left out."""


def get_kind(message: AnyMessage) -> str:
    """Return the kind of a document."""
    return str(type(message).__struct_config__.tag)


MAX_VALIDITY = timedelta(days=400)
CLOCK_TOLERANCE = timedelta(minutes=5)  # tolerance for clocks of partners that are ahead


def check_message(message: AnyMessage, now: datetime) -> None:
    """Check a document at the time of its receipt."""
    found = next(_find_faults(message, now), None)
    if found is not None:
        field, reason = found
        raise MessageFault(
            reason,
            where=f"{get_kind(message)} {message.message_id} of {message.author}, {field}",
            todo="ask its author to correct and sign it again",
        )


def _find_faults(message: AnyMessage, now: datetime) -> Iterator[tuple[str, str]]:
    for field, value in msgspec.structs.asdict(message).items():
        if isinstance(value, str) and not value.replace("\n", "").isprintable():
            yield field, "contains characters that cannot be printed"
    if message.issued_at > now + CLOCK_TOLERANCE:
        yield "issued_at", "is in the future"
    if isinstance(message, Warning | Seizure):
        if message.expires_at <= message.issued_at:
            yield "expires_at", "is not after issued_at"
        if message.expires_at > message.issued_at + MAX_VALIDITY:
            yield "expires_at", f"is more than {MAX_VALIDITY.days} days after issued_at"
        if message.expires_at <= now:
            yield "expires_at", "the message has expired"
    if isinstance(message, Seizure) and message.occurred_at > message.issued_at:
        yield "occurred_at", "is after issued_at"
    if isinstance(message, Warning) and not (
        message.indicators or message.cover or message.hs_code or message.departure_country or message.route
    ):
        yield "indicators", "the warning has no criterion, so it matches no consignment"
    if isinstance(message, Report) and message.ends_at <= message.begins_at:
        yield "ends_at", "is not after begins_at"
    if isinstance(message, Feedback) and not (
        message.matched >= message.inspected >= message.known >= message.found
    ):
        yield "found", "the counts do not fit: matched, inspected, known and found must not grow"
