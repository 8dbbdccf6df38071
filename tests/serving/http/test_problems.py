"""Problem documents name the field at fault by a JSON pointer."""

from typing import Any

import msgspec
import pytest

from consignments.records import Consignment
from serving.http.problems import RecordFault, Refusal, build_fault
from serving.http.protocol.records import list_record_faults

POSTAL = {"consignment_id": "a", "channel": "postal"}


@pytest.mark.parametrize(
    ("body", "pointer", "detail", "kind"),
    [
        ({"channel": "postal"}, "#/consignment_id", "required field", "missing_field"),
        (POSTAL | {"channel": "sea"}, "#/channel", "Invalid enum value", "bad_value"),
        (POSTAL | {"pieces": "two"}, "#/pieces", "Expected `float | null`", "wrong_type"),
        (POSTAL | {"weight": 2}, "#/weight", "unknown field", "unknown_field"),
        (POSTAL | {"items": [{}, {"hs": "1"}]}, "#/items/1/hs", "unknown field", "unknown_field"),
        (POSTAL | {"items": [{"value": -1}]}, "#/items/0/value", ">= 0.0", "bad_value"),
        (POSTAL | {"a/b~c": 2}, "#/a~1b~0c", "unknown field", "unknown_field"),
        (POSTAL | {"Kim Geheim": 2}, "#/Kim%20Geheim", "unknown field", "unknown_field"),
        ([], "#", "Expected `object`", "wrong_type"),
    ],
)
def test_the_pointer_leads_to_the_field(body: Any, pointer: str, detail: str, kind: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(msgspec.json.encode(body), type=Consignment)
    fault = build_fault(caught.value)
    assert (fault.pointer, fault.kind) == (pointer, kind)
    assert detail in fault.detail


def test_a_very_long_unknown_name_is_told_back_in_part_only() -> None:
    body = '{"consignment_id": "a", "channel": "postal", "' + "x" * 5000 + '": 1}'
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(body, type=Consignment)
    fault = build_fault(caught.value)
    assert len(fault.detail) < 200
    assert len(str(fault.pointer)) < 200


def test_a_refusal_is_a_problem_document() -> None:
    refusal = Refusal.from_fault(RecordFault("Expected `str`", "#/office"))
    assert msgspec.json.decode(refusal.to_json("a-1")) == {
        "title": "Unprocessable Entity",
        "status": 422,
        "detail": "Expected `str`",
        "type": "about:blank",
        "errors": [{"detail": "Expected `str`", "pointer": "#/office", "kind": "bad_value"}],
        "request_id": "a-1",
    }


def test_a_value_that_is_not_allowed_is_answered_with_those_that_are() -> None:
    body = b'{"consignment_id": "a", "channel": "rail; see", "items": [{"value": "x"}]}'
    faults = list_record_faults(body, Consignment)
    assert [fault.pointer for fault in faults] == ["#/channel", "#/items/0/value"]
    assert faults[0].detail == "Invalid enum value 'rail; see': expected one of postal, air_cargo"
