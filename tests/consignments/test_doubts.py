"""Doubts about a consignment name a field and never repeat its value; countries are read as what they are."""

from typing import Any

import pytest

from consignments.doubts import correct_consignment
from consignments.records import Consignment


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"sender_country": "GBR"}, [("country_read_as", "sender_country")]),
        ({"departure_country": "China"}, [("country_read_as", "departure_country")]),
        ({"sender_country": "Narnia"}, [("unknown_country", "sender_country")]),
        ({"currency": "Taler"}, [("unknown_currency", "currency")]),
        ({"gross_weight_kg": 1e308}, [("implausible_value", "gross_weight_kg")]),
        ({"channel": "air_cargo"}, [("no_waybill", "consignment_id")]),
        ({"sender_country": "gb", "consignee_country": "NA", "currency": "krw", "gross_weight_kg": 0.4}, []),
    ],
)
def test_each_doubt_has_a_code_and_a_field(fields: dict[str, Any], expected: list[Any]) -> None:
    given: dict[str, Any] = {"consignment_id": "RB123456785GB", "channel": "postal"} | fields
    c, doubts = correct_consignment(Consignment(**given))
    assert [(doubt.code, doubt.field) for doubt in doubts] == expected
    assert not any("Narnia" in doubt.text or "Taler" in doubt.text for doubt in doubts)
    read = {"GBR": "GB", "China": "CN"}
    for name, value in fields.items():
        assert getattr(c, name) == read.get(value, value)
