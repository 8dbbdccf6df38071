"""Identifiers are compared in normal form and given back as they came."""

import unicodedata

import numpy as np
import pytest
from support.examples import make_consignment, make_outcome
from support.serving_examples import DATA_KEY, Client

from consignments.identifiers import has_valid_check_digit, normalize_identifier
from features.config import FeatureConfig
from features.fitted import FittedParameters
from features.history.pseudonyms import Pseudonyms
from features.pipeline import Pipeline

SPELLINGS = ["057-51987552/H-1", " 057 5198 7552/H-1", "05751987552/H-1"]


@pytest.mark.parametrize(
    ("identifier", "normal"),
    [
        ("rb999999999gb", "RB999999999GB"),
        ("RB999999999GB ", "RB999999999GB"),
        ("RB-999 999 999-GB", "RB999999999GB"),
        ("057-51987552", "05751987552"),
        ("057-51987552/h-1 a", "05751987552/h-1 a"),
        ("lot-7 b", "lot-7 b"),
        (unicodedata.normalize("NFD", "Köln-7"), "Köln-7"),
        ("   ", "   "),
        ("057-5198755/1", "057-5198755/1"),
    ],
)
def test_the_normal_form(identifier: str, normal: str) -> None:
    assert normalize_identifier(identifier) == normalize_identifier(normal) == normal


def test_an_outcome_finds_its_consignment_in_any_spelling(client: Client) -> None:
    client.send("/v1/scores", make_consignment("RB999999999GB"))
    for name in ("rb999999999gb", "RB 999 999 999 GB"):
        receipt = client.send("/v1/outcomes", make_outcome(name, result="nps", quantity_g=float(len(name))))
        assert (receipt["id"], receipt["known"], receipt["repeated"]) == (name, True, False)
    assert client.send("/v1/outcomes", make_outcome("RB888888888GB"))["known"] is False
    told = client.get("/v1/consignments/RB-999999999-GB").json()
    assert [each["consignment_id"] for each in told["outcomes"]] == ["rb999999999gb", "RB 999 999 999 GB"]


def test_outcomes_that_wait_for_their_consignment_are_counted_until_it_arrives(client: Client) -> None:
    def counts() -> list[str]:
        lines = client.get("/metrics").text.splitlines()
        return [
            line
            for line in lines
            if line.startswith(("npsrisk_unmatched_out", "npsrisk_joined_out")) and "created" not in line
        ]

    waiting = [make_outcome("RB1"), make_outcome("RB1", result="nps"), make_outcome("RB2")]
    client.send("/v1/outcomes", {"outcomes": waiting})
    client.send("/v1/outcomes", waiting[0])
    answer = {"consignment_id": "RB3", "state": "resolved", "authority": "KCS", "source": "XCSN"}
    assert client.send("/v1/events", answer)["known"] is False
    assert counts() == ["npsrisk_unmatched_outcomes_total 3.0", "npsrisk_joined_outcomes_total 0.0"]
    client.send("/v1/scores", make_consignment("RB1"))
    client.send("/v1/scores", make_consignment("RB1", description="amended"))
    client.send("/v1/outcomes", make_outcome("RB1", result="controlled_drug"))
    assert counts() == ["npsrisk_unmatched_outcomes_total 3.0", "npsrisk_joined_outcomes_total 2.0"]


def test_another_spelling_is_a_repeat_and_each_answer_gives_the_spelling_back(
    client: Client,
) -> None:
    answers = [client.send("/v1/scores", make_consignment(name)) for name in SPELLINGS]
    assert [each["consignment_id"] for each in answers] == SPELLINGS
    assert len({each["decision_id"] for each in answers}) == 1
    assert [each["repeated"] for each in answers] == [False, True, True]
    span = {"from": "2024-03-01T00:00:00Z", "until": "2024-03-10T00:00:00Z"}
    (chosen,) = client.send("/v1/selections", {"office": "Incheon", "capacity": 1, "explore": 0, **span})[
        "selections"
    ]
    (decision,) = client.read("/v1/decisions")["decisions"]
    assert chosen["consignment_id"] == decision["consignment_id"] == SPELLINGS[0]
    both = {"consignments": [make_consignment(name, pieces=9.0) for name in SPELLINGS]}
    scores = client.send("/v1/scores", both)["scores"]
    assert [each["consignment_id"] for each in scores] == SPELLINGS
    assert [each["repeated"] for each in scores] == [False, True, True]
    receipt = client.send("/v1/cancellations", {"consignment_id": SPELLINGS[2]})
    assert receipt["id"] == SPELLINGS[2]
    assert client.send("/v1/scores", make_consignment(SPELLINGS[0], pieces=9.0))["cancelled"] is True


def test_the_spelling_changes_no_feature() -> None:
    pipeline = Pipeline(FeatureConfig(), FittedParameters.create_empty(), Pseudonyms(DATA_KEY))
    rows = np.zeros((2, len(pipeline.spec)), dtype=np.float32)
    keys = np.zeros((2, 1, len(pipeline.kinds)), dtype=np.uint64)
    for name in (" rb 123456785 gb", "rb123456786gb", "057-5198 7552/H1", "180-12345675"):
        for row, spelling in zip(rows, (name, normalize_identifier(name)), strict=True):
            pipeline.fill_rows([make_consignment(spelling)], row[None], *keys)
        assert rows[0].tobytes() == rows[1].tobytes(), name
        assert has_valid_check_digit(name) is not None
