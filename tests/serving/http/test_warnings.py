"""What was doubted in a consignment stands in its answer, again in a repeat, and in its history; texts repeat no value."""

from typing import Any

import pytest
from support.examples import make_consignment
from support.messages import MESSAGES
from support.serving_examples import Client


def list_codes(score: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(each["code"], each["field"]) for each in score["warnings"]]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"departure_country": "China"}, [("country_read_as", "departure_country")]),
        ({"sender_country": "GBR"}, [("country_read_as", "sender_country")]),
        ({"sender_country": "Narnia"}, [("unknown_country", "sender_country")]),
        ({"gross_weight_kg": 1e308}, [("implausible_value", "gross_weight_kg")]),
        ({"currency": "TALER"}, [("unknown_currency", "currency")]),
        ({"channel": "air_cargo"}, [("no_waybill", "consignment_id")]),
        ({"quality": ["number_malformed", "hs_missing"]}, [("number_malformed", None)]),
        ({}, []),
    ],
)
def test_a_doubt_is_in_the_answer_its_repeat_and_the_history(
    client: Client, fields: dict[str, Any], expected: list[Any]
) -> None:
    c = make_consignment("RB1", **fields)
    first, again = (client.post("/v1/scores", c).json() for _ in range(2))
    assert list_codes(first) == expected
    assert again == first | {"repeated": True}
    (decision,) = client.get("/v1/consignments/RB1").json()["decisions"]
    assert decision["warnings"] == first["warnings"]
    assert "Narnia" not in str(first["warnings"])
    for code, _ in expected:
        line = f'npsrisk_doubtful_records_total{{call="scores",kind="{code}"}} 1.0'
        assert line in client.get("/metrics").text


def test_a_country_in_words_is_scored_as_its_code(client: Client) -> None:
    found = []
    for name, country in (("RB1", "CN"), ("RB2", "China")):
        c = make_consignment(name, departure_country=country)
        features = client.post("/v1/scores?features=true", c).json()["features"]
        found.append(
            {name: value for name, value in features.items() if name.startswith(("route.", "category."))}
        )
    assert found[0] == found[1]


def test_an_alert_is_read_with_the_country_that_was_meant(client: Client) -> None:
    alert = {"alert_id": "A1", "issued_at": "2024-03-03T00:00:00Z", "departure_country": "China"}
    receipts = [client.post("/v1/alerts", alert).json() for _ in range(2)]
    for receipt in receipts:
        assert [each["kind"] for each in receipt["warnings"]] == ["country_read_as"]
    assert [receipt["repeated"] for receipt in receipts] == [False, True]
    c = make_consignment("RB1", departure_country="CN")
    features = client.post("/v1/scores?features=true", c).json()["features"]
    assert features["alerts.matching"] == 1


def test_messages_have_quality_codes_and_warnings(client: Client) -> None:
    body = (MESSAGES / "xfzb_house.xml").read_text(encoding="utf-8")
    broken = body.replace(">1.85<", ">Kim Geheim<").replace(">CN</ram:CountryID>", ">China</ram:CountryID>")
    headers = {"content-type": "application/xml"}
    scores = [
        client.post("/v1/scores", broken.encode(), headers=headers).json()["scores"][0] for _ in range(2)
    ]
    assert "number_malformed" in scores[0]["quality"]
    assert ("number_malformed", "gross_weight_kg") in list_codes(scores[0])
    assert ("country_read_as", "sender_country") in list_codes(scores[0])
    master = client.post("/v1/scores", (MESSAGES / "xfwb_master.xml").read_bytes(), headers=headers).json()
    assert [list_codes(each) for each in master["scores"]] == [
        list_codes(scores[0])
    ]  # amended, and still doubted
    assert scores[1] == scores[0] | {"repeated": True}
    assert "Geheim" not in str(scores)
