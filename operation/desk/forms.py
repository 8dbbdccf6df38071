"""Forms that officers send, as records of the interface."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from consignments.doubts import COUNTRIES
from consignments.records import Consignment, Outcome
from consignments.timestamps import to_datetime
from serving.event_log.event_codec import Action
from serving.http.problems import Refusal

FORM_TYPES = {b"application/x-www-form-urlencoded": "a form"}
MAX_FORM_BYTES = 1_000_000
MAX_FIELDS = 100
NUMBERS = frozenset(("gross_weight_kg", "declared_value"))
OUTCOME_TEXTS = ("substance", "substance_family", "concealment")
TRIAL_NAME = "TRIAL"
Form = dict[str, str]
R = TypeVar("R")


class FormFault(Exception):
    """A form that cannot be recorded as it is; the text is a key of the page texts, or a sentence."""


def parse_form(body: bytes) -> Form:
    """Parse the fields of a form; raise a refusal with 400 if it is none, or a field is repeated."""
    options: dict[str, Any] = {"max_num_fields": MAX_FIELDS, "strict_parsing": bool(body), "errors": "strict"}
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, **options)
    except ValueError:
        raise Refusal(400, "The body is not a form in UTF-8.") from None
    form = dict(pairs)
    if len(form) < len(pairs):
        raise Refusal(400, "A field of the form is repeated.")
    return form


def build_action(form: Form, person: str, now_us: int) -> Action:
    """Build the action of a form, or raise `FormFault`."""
    if not form.get("action"):
        raise FormFault("act.choose")
    fields = {
        "consignment_id": form.get("id", ""),
        "action": form["action"],
        "reason": form.get("reason", "").strip() or None,
        "by": person,
        "acted_at": to_datetime(now_us),
    }
    return _convert(fields, Action)


def build_outcome(form: Form, office: str | None, now_us: int) -> Outcome:
    """Build the outcome of a form, or raise `FormFault`; a final result is known now, and `missed` is a choice among the results."""
    if not form.get("result"):
        raise FormFault("outcome.choose")
    missed = form["result"] == "missed"
    result = None if missed else form["result"]
    fields: dict[str, Any] = {
        "consignment_id": form.get("id", ""),
        "selected_by": form.get("selected_by", ""),
        "status": "missed" if missed else "inspected",
        "inspected_at": _parse_time(form.get("inspected_at", "")),
        "result": result,
        "known_at": to_datetime(now_us) if result not in (None, "pending") else None,
        "office": office,
    }
    if not missed:
        fields |= {name: form.get(name, "").strip() or None for name in OUTCOME_TEXTS}
        fields["quantity_g"] = _parse_number(form.get("quantity_g", ""), "outcome.bad_quantity")
    return _convert(fields, Outcome)


def build_consignment(form: Mapping[str, str], now_us: int) -> Consignment:
    """Build the consignment of the form for trials, or raise `FormFault`."""
    names = {field.name for field in msgspec.structs.fields(Consignment)}
    given = {name: value.strip() for name, value in form.items() if name in names}
    fields: dict[str, Any] = {name: value for name, value in given.items() if value}
    for name in fields:
        if name.endswith("_country") and fields[name].upper() not in COUNTRIES:
            raise FormFault(f"try.bad_{name}")
    fields |= {name: _parse_number(fields[name], f"try.bad_{name}") for name in NUMBERS & fields.keys()}
    fields.setdefault("consignment_id", TRIAL_NAME)
    return _convert(fields | {"received_at": to_datetime(now_us)}, Consignment)


def _convert(fields: dict[str, Any], record: type[R]) -> R:
    try:
        return msgspec.convert(fields, record)
    except msgspec.ValidationError as error:
        raise FormFault(str(error).replace(" - at `$.", " – `")) from None


def _parse_time(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M").replace(tzinfo=UTC)
    except ValueError:
        raise FormFault("outcome.bad_time") from None


def _parse_number(text: str, fault: str) -> float | None:
    """Parse a number with a point or a comma; an empty text is None."""
    try:
        number = float(text.strip().replace(",", ".")) if text.strip() else None
    except ValueError:
        raise FormFault(fault) from None
    if number is not None and not 0 <= number < float("inf"):
        raise FormFault(fault)
    return number
