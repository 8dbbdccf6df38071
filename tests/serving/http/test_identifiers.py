"""Identifiers are compared in normal form and given back as they came."""

from support.examples import make_consignment, make_outcome
from support.serving_examples import Client

SPELLINGS = ["057-51987552/H-1", " 057 5198 7552/H-1", "05751987552/H-1"]


def test_outcomes_wait_for_their_consignment_in_any_spelling_and_are_counted(client: Client) -> None:
    def counts() -> list[float]:
        lines = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines())
        return [float(lines[f"npsrisk_{kind}_outcomes_total"]) for kind in ("unmatched", "joined")]

    found = make_outcome("RB 999 999 999 GB", result="nps")
    waiting = [make_outcome("rb999999999gb"), found, make_outcome("RB2")]
    receipts = client.send("/v1/outcomes", {"outcomes": waiting})["outcomes"]
    told = [(each["id"], each["known"]) for each in receipts]
    assert told == [(each.consignment_id, False) for each in waiting]
    client.send("/v1/outcomes", waiting[0])
    answer = {"consignment_id": "RB3", "state": "resolved", "authority": "KCS", "source": "XCSN"}
    assert client.send("/v1/events", answer)["known"] is False
    assert counts() == [3, 0]
    client.score("RB999999999GB")
    client.score("RB999999999GB", description="amended")
    receipt = client.send("/v1/outcomes", make_outcome("RB-999999999-GB", result="controlled_drug"))
    assert (receipt["known"], receipt["repeated"], counts()) == (True, False, [3, 2])
    told = client.read("/v1/consignments/RB-999999999-GB")["outcomes"]
    spellings = ["rb999999999gb", "RB 999 999 999 GB", "RB-999999999-GB"]
    assert [each["consignment_id"] for each in told] == spellings


def test_another_spelling_is_a_repeat_and_each_answer_gives_the_spelling_back(client: Client) -> None:
    answers = [client.score(name) for name in SPELLINGS]
    both = {"consignments": [make_consignment(name, pieces=9.0) for name in SPELLINGS]}
    for scores in (answers, client.send("/v1/scores", both)["scores"]):
        told = [(each["consignment_id"], each["repeated"]) for each in scores]
        assert told == [*zip(SPELLINGS, (False, True, True), strict=True)]
        assert len({each["decision_id"] for each in scores}) == 1
    span = {"from": "2024-03-01T00:00:00Z", "until": "2024-03-10T00:00:00Z"}
    wanted = {"office": "Incheon", "capacity": 1, "explore": 0, **span}
    (chosen,) = client.send("/v1/selections", wanted)["selections"]
    decision = client.read("/v1/decisions")["decisions"][0]
    assert chosen["consignment_id"] == decision["consignment_id"] == SPELLINGS[0]
    assert client.send("/v1/cancellations", {"consignment_id": SPELLINGS[2]})["id"] == SPELLINGS[2]
    assert client.score(SPELLINGS[0], pieces=9.0)["cancelled"] is True
