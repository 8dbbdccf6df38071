"""Records of npsrisk: Consignment, Outcome, Alert and Truth.

Everything else is derived from these types: the checks of tables (`consignments.tables`), the types of the HTTP
interface, the column lists in the docs. Times have a zone; None is missing, never a magic value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from msgspec import inspect as types

FieldKind = Literal["string", "number", "integer", "time", "date", "items", "codes"]

Channel = Literal["postal", "air_cargo"]
Selector = Literal["model", "random", "rule", "officer", "intelligence"]
Status = Literal["inspected", "missed"]
Level = Literal["house", "direct", "master"]
Result = Literal["nps", "controlled_drug", "other_offence", "clear", "pending"]
Target = Literal["nps", "controlled_drug", "any_offence"]
HistoryUse = Literal["given", "none"]
"""Origin of the history of scores: `given` with past consignments, `none` with those of their own table only."""
TARGETS: tuple[Target, ...] = ("nps", "controlled_drug", "any_offence")
TARGET_NAMES: dict[Target, str] = {
    "nps": "new psychoactive substances",
    "controlled_drug": "controlled drugs",
    "any_offence": "offences of any kind",
}
"""The targets in words."""
SIDES = ("sender", "consignee")
"""The parties of a consignment, in the order of two that nothing else tells apart."""

Identifier = Annotated[str, Meta(min_length=1, max_length=100)]
Code = Annotated[str, Meta(max_length=100)]
Text = Annotated[str, Meta(max_length=4000)]
Personal = Annotated[str, Meta(max_length=500, extra={"personal": True})]
Time = Annotated[datetime, Meta(tz=True)]
Amount = Annotated[float, Meta(ge=0)]
Probability = Annotated[float, Meta(gt=0, le=1)]
Codes = Annotated[tuple[Code, ...], Meta(max_length=50)]
MAX_ITEMS = 1000
"""Maximum number of items of a consignment."""


def about(meaning: str, **limits: Any) -> Meta:
    """Return the metadata of a field: its meaning, and the limits of its values."""
    return Meta(description=meaning, **limits)


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One kind of goods in a consignment: a member of its column `items`."""

    description: Annotated[Text | None, about("description of the goods")] = None
    quantity: Annotated[Amount | None, about("number of pieces of this kind")] = None
    net_weight_kg: Annotated[Amount | None, about("net weight in kilograms")] = None
    value: Annotated[Amount | None, about("declared value, in the consignment's currency")] = None
    hs_code: Annotated[Code | None, about("Harmonized System code, 6 digits or more")] = None
    origin_country: Annotated[Code | None, about("country of origin, ISO 3166-1 alpha-2")] = None


Items = Annotated[tuple[Item, ...], Meta(max_length=MAX_ITEMS)]


class Consignment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One postal item or one air-cargo house consignment, as announced by its advance data."""

    consignment_id: Annotated[Identifier, about("S10 item identifier, or AWB/HAWB")]
    channel: Annotated[Channel, about("mode of transport: postal or air_cargo")]
    received_at: Annotated[
        Time | None,
        about("when the advance data reached customs; the time of scoring", extra={"required": True}),
    ] = None
    service: Annotated[
        Code | None, about("letter, small_packet, parcel, ems, ecommerce, express or general")
    ] = None
    master_id: Annotated[Code | None, about("consolidation (master waybill) or receptacle")] = None
    nature: Annotated[Code | None, about("sale, gift, documents, sample, returned, mixed or other")] = None
    sender_name: Annotated[Personal | None, about("sender's name")] = None
    sender_address: Annotated[Personal | None, about("sender's street address")] = None
    sender_city: Annotated[Personal | None, about("sender's city")] = None
    sender_postcode: Annotated[Personal | None, about("sender's postcode")] = None
    sender_country: Annotated[Code | None, about("sender's country, ISO 3166-1 alpha-2")] = None
    sender_phone: Annotated[Personal | None, about("sender's telephone number")] = None
    sender_email: Annotated[Personal | None, about("sender's e-mail address")] = None
    consignee_name: Annotated[Personal | None, about("consignee's name")] = None
    consignee_address: Annotated[Personal | None, about("consignee's street address")] = None
    consignee_city: Annotated[Personal | None, about("consignee's city")] = None
    consignee_postcode: Annotated[Personal | None, about("consignee's postcode")] = None
    consignee_country: Annotated[Code | None, about("consignee's country, ISO 3166-1 alpha-2")] = None
    consignee_phone: Annotated[Personal | None, about("consignee's telephone number")] = None
    consignee_email: Annotated[Personal | None, about("consignee's e-mail address")] = None
    account_id: Annotated[Personal | None, about("shipper's account with the carrier or platform")] = None
    account_opened_on: Annotated[date | None, about("when the shipper's account was opened")] = None
    declarant: Annotated[Code | None, about("filing agent")] = None
    carrier: Annotated[Code | None, about("airline, post or courier")] = None
    office: Annotated[Code | None, about("customs office of arrival")] = None
    departure_country: Annotated[Code | None, about("country of dispatch, ISO 3166-1 alpha-2")] = None
    destination_country: Annotated[Code | None, about("country of destination, ISO 3166-1 alpha-2")] = None
    route: Annotated[Code | None, about("places in order, IATA or IMPC: PVG>HKG>ICN")] = None
    description: Annotated[Text | None, about("description of the goods")] = None
    hs_code: Annotated[Code | None, about("Harmonized System code, 6 digits or more")] = None
    origin_country: Annotated[Code | None, about("country of origin, ISO 3166-1 alpha-2")] = None
    items: Annotated[
        Items | None,
        about("the kinds of goods, if there are several (JSON text in CSV)"),
    ] = None
    pieces: Annotated[Amount | None, about("number of pieces")] = None
    gross_weight_kg: Annotated[Amount | None, about("gross weight in kilograms")] = None
    declared_value: Annotated[Amount | None, about("declared value, in `currency`")] = None
    currency: Annotated[Code | None, about("currency code, ISO 4217")] = None
    postage: Annotated[Amount | None, about("postage or freight paid, in `currency`")] = None
    payment: Annotated[Code | None, about("how carriage was paid: account, card, cash, crypto, …")] = None
    cancelled_at: Annotated[Time | None, about("when its sender cancelled it; it counts until then")] = None
    issued_at: Annotated[
        Time | None,
        about("when its sender issued this version; one issued before the latest known does not replace it"),
    ] = None
    level: Annotated[Level | None, about("of a waybill; master: a consolidation with unknown houses")] = None
    quality: Annotated[
        Codes | None,
        about("named doubts of the reader of messages (JSON text in CSV)"),
    ] = None


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The outcome of selecting and inspecting one consignment."""

    consignment_id: Annotated[
        Identifier, about("identifier of the consignment; may be unknown until the consignment arrives")
    ]
    selected_by: Annotated[Selector, about("who selected it")]
    status: Annotated[
        Status, about("missed: selected but not presented for inspection; does not count as negative")
    ]
    selection_probability: Annotated[
        Probability | None, about("probability that the whole policy selects this consignment")
    ] = None
    selected_at: Annotated[Time | None, about("when it was selected")] = None
    inspected_at: Annotated[Time | None, about("when it was inspected")] = None
    known_at: Annotated[Time | None, about("when the result became known; a final result needs it")] = None
    recorded_at: Annotated[Time | None, about("when npsrisk recorded it; only the service sets it")] = None
    result: Annotated[Result | None, about("result; all values except `pending` are final")] = None
    substance: Annotated[Code | None, about("detected substance")] = None
    substance_family: Annotated[Code | None, about("family of the substance, for example cathinone")] = None
    quantity_g: Annotated[Amount | None, about("detected quantity in grams")] = None
    concealment: Annotated[Code | None, about("how it was hidden")] = None
    operation: Annotated[Code | None, about("operation under which it was inspected")] = None
    office: Annotated[Code | None, about("customs office that inspected it")] = None


class Alert(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An alert of a partner during an operation; it matches a consignment if all its patterns match."""

    alert_id: Annotated[Identifier, about("unique identifier")]
    issued_at: Annotated[Time, about("start of validity")]
    expires_at: Annotated[Time | None, about("end of validity; missing: no end")] = None
    operation: Annotated[Code | None, about("operation it belongs to")] = None
    text: Annotated[Text | None, about("text of the alert for officers")] = None
    description_pattern: Annotated[
        Code | None, about("words of the goods description; * matches any letters")
    ] = None
    hs_code: Annotated[Code | None, about("Harmonized System code or its first digits")] = None
    sender_name: Annotated[Personal | None, about("sender's name, any spelling")] = None
    sender_address: Annotated[Personal | None, about("sender's address, any spelling")] = None
    consignee_name: Annotated[Personal | None, about("consignee's name, any spelling")] = None
    consignee_address: Annotated[Personal | None, about("consignee's address, any spelling")] = None
    departure_country: Annotated[Code | None, about("country of dispatch, ISO 3166-1 alpha-2")] = None
    route: Annotated[Code | None, about("a part of the route, for example PVG>HKG")] = None
    substance_family: Annotated[Code | None, about("family of the expected substances")] = None
    author: Annotated[Code | None, about("partner who sent it; missing: an own alert")] = None
    occurred_at: Annotated[Time | None, about("time of the seizure from which its indicators come")] = None
    indicators: Annotated[
        Codes | None,
        about(
            "keyed hashes of names, addresses, phones and e-mails (JSON text in CSV); one that a party has is enough"
        ),
    ] = None


class Truth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The true content of a simulated consignment; for evaluation, never for training or scoring."""

    consignment_id: Annotated[Identifier, about("identifier of the consignment")]
    result: Annotated[Result, about("result of a perfect inspection")]
    substance: Annotated[Code | None, about("substance in the consignment")] = None
    substance_family: Annotated[Code | None, about("family of the substance")] = None
    quantity_g: Annotated[Amount | None, about("quantity of the substance in grams")] = None
    network: Annotated[Code | None, about("kind of trafficking network")] = None


class LogColumns(msgspec.Struct, frozen=True):
    """Additional columns of tables from `npsrisk export`."""

    sequence: Annotated[
        int, about("position in the service's log; it is the order of history in every table that has it")
    ]
    cancelled_sequence: Annotated[int | None, about("position in the log of its cancellation")] = None


class ScoreRow(msgspec.Struct, frozen=True):
    """One row of a score table, written by `npsrisk score` and read by `npsrisk select`; a column `reasons` with JSON text is kept unchecked."""

    consignment_id: Annotated[Identifier, about("identifier of the consignment")]
    score: Annotated[float, about("calibrated probability that the consignment is positive", ge=0, le=1)]
    band: Annotated[Code, about("high, elevated or routine; the model holds the limits")]
    received_at: Annotated[Time, about("when the advance data reached customs")]
    model_version: Annotated[Code | None, about("number of the registered version, or unregistered")] = None
    office: Annotated[Code | None, about("customs office of arrival")] = None
    history: Annotated[
        HistoryUse | None, about("none: scored without past consignments, so every sender looked new")
    ] = None


class SelectionRow(msgspec.Struct, frozen=True):
    """One row of a selection table, written by `npsrisk select`; reasons and columns of the goods are kept unchecked."""

    consignment_id: Annotated[Identifier, about("identifier of the consignment")]
    selected_by: Annotated[Selector, about("who selected it")]
    selection_probability: Annotated[
        float, about("probability that the whole policy selects this consignment", gt=0, le=1)
    ]
    office: Annotated[Code | None, about("customs office that inspects it")] = None
    selected_at: Annotated[
        Time | None, about("last arrival of the office and day, which is when its list can be drawn first")
    ] = None
    score: Annotated[Annotated[float, Meta(ge=0, le=1)] | None, about("score of the consignment")] = None
    band: Annotated[Code | None, about("band of the score")] = None


def create_consignment_type(numeric: Sequence[str] = (), category: Sequence[str] = ()) -> type[Consignment]:
    """Create the consignment type of a model that declares further columns: numbers, and strings with few distinct values."""
    extra: list[tuple[str, Any, Any]] = [(name, float | None, None) for name in numeric]
    extra += [(name, Code | None, None) for name in category]
    if not extra:
        return Consignment
    return msgspec.defstruct(  # type: ignore[return-value]
        "DeclaredConsignment", extra, bases=(Consignment,), frozen=True, forbid_unknown_fields=True
    )


KINDS: dict[type[types.Type], FieldKind] = {
    types.FloatType: "number",
    types.IntType: "integer",
    types.DateTimeType: "time",
    types.DateType: "date",
    types.VarTupleType: "items",
}


@dataclass(frozen=True, slots=True)
class Field:
    """The schema of one column: `required` means that each row has a value, `personal` that it is never unencrypted in logs, state, MLflow or errors.

    `choices` is empty if all values are allowed; `max_length` counts characters; `lowest` and `highest` are allowed, `above` is not.
    """

    name: str
    kind: FieldKind
    required: bool = False
    personal: bool = False
    choices: tuple[str, ...] = ()
    max_length: int | None = None
    lowest: float | None = None
    above: float | None = None
    highest: float | None = None
    meaning: str = ""


@cache
def get_fields(record: type[msgspec.Struct]) -> tuple[Field, ...]:
    """List the columns of a record type, in order."""
    info = types.type_info(record)
    assert isinstance(info, types.StructType)
    return tuple(_build_field(part) for part in info.fields)


def describe_type(kind: types.Type) -> tuple[types.Type, bool, str, dict[str, Any]]:
    """Return the type of a field without its metadata, whether None is allowed, its description, and further metadata."""
    meaning, optional = "", False
    extra: dict[str, Any] = {}
    inner = kind
    while isinstance(inner, types.Metadata | types.UnionType):
        if isinstance(inner, types.UnionType):
            optional = any(isinstance(each, types.NoneType) for each in inner.types)
            inner = next(each for each in inner.types if not isinstance(each, types.NoneType))
            continue
        meaning = meaning or (inner.extra_json_schema or {}).get("description", "")
        extra |= inner.extra or {}
        inner = inner.type
    return inner, optional, meaning, extra


def _build_field(part: types.Field) -> Field:
    inner, _, meaning, extra = describe_type(part.type)
    kind = KINDS.get(type(inner), "string")
    if isinstance(inner, types.VarTupleType) and isinstance(describe_type(inner.item_type)[0], types.StrType):
        kind = "codes"
    return Field(
        name=part.name,
        kind=kind,
        required=part.required or bool(extra.get("required")),
        personal=bool(extra.get("personal")),
        choices=tuple(map(str, inner.values)) if isinstance(inner, types.LiteralType) else (),
        max_length=inner.max_length if isinstance(inner, types.StrType) else None,
        lowest=inner.ge if isinstance(inner, types.FloatType) else None,
        above=inner.gt if isinstance(inner, types.FloatType) else None,
        highest=inner.le if isinstance(inner, types.FloatType) else None,
        meaning=meaning,
    )


TEXT_LIMITS = {
    record: {each.name: each.max_length for each in get_fields(record) if each.max_length}
    for record in (Consignment, Item)
}
"""Greatest length of each text of a record."""
