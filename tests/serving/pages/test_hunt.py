"""The hunt of a page: what shares something with a detection, and what is in hand ranked again, as known then and now."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs
from support.examples import day, make_consignment, make_outcome
from support.officer import Officer, read_text, write_keys
from support.partner import ExchangePartner, Ticking
from support.serving_examples import Client, publish, serving, settings_in

from consignments.timestamps import to_day
from features.history.pseudonyms import Pseudonyms, load_data_key
from features.indicators.operation_keys import OperationKeys, install_keys
from features.indicators.values import compute_indicators
from serving.event_log.reader import LogReader
from serving.pages.hunt import IN_HAND, HuntRow, _rank, list_hunt_values
from serving.pages.messages import Viewer
from serving.scoring.loaded_model import load_rules_model
from serving.scoring.second_scores import SecondScorer, score_again
from serving.state.history_keys import KeyReader
from serving.state.snapshots import rebuild_state

NOBODY = dict.fromkeys(
    [f"{side}_{part}" for side in ("sender", "consignee") for part in ("name", "address", "phone")]
)
HEADERS = {"content-type": "application/json", "authorization": "Bearer all"}


@pytest.fixture(autouse=True)
def own_keys() -> Iterator[None]:
    yield
    install_keys(OperationKeys())


@pytest.fixture(scope="module")
def partner(tmp_path_factory: pytest.TempPathFactory) -> ExchangePartner:
    return ExchangePartner(tmp_path_factory.mktemp("hunt"))


@pytest.fixture(scope="module")
def client(partner: ExchangePartner, bundle: Path) -> Iterator[Client]:
    folder = partner.exchange.parent
    publish(folder, bundle, "1")
    keys = write_keys(
        folder / "keys.toml",
        {"key": "all", "person": "K. Lee"},
        {"key": "busan", "person": "J. Park", "offices": ("Busan",)},
    )
    settings = settings_in(
        folder, NPSRISK_EXCHANGE_DIR=str(partner.exchange), NPSRISK_API_KEYS_FILE=str(keys)
    )
    with serving(settings, Ticking()) as opened:
        score(opened, "SEIZED", 0)
        score(opened, "OLD", -20, sender_phone="+44 20 7946 0018")
        score(opened, "PASSED", 2, sender_phone="0044 2079460018")
        score(opened, "RELEASED", 3, sender_phone="+44 20 7946 0018")
        score(opened, "CLEAR", 4, sender_phone="+44 20 7946 0018")
        score(opened, "WAITING", 19, sender_phone="+44 20 7946 0018")
        score(opened, "STRANGER", 19.1, description="books")
        score(opened, "ELSEWHERE", 19.2, sender_phone="+44 20 7946 0018", office="Busan")
        score(opened, "GONE", 19.3, sender_phone="+44 20 7946 0018")
        send(opened, "/v1/cancellations", {"consignment_id": "GONE"})
        send(opened, "/v1/actions", {"consignment_id": "RELEASED", "action": "release", "reason": "checked"})
        send(opened, "/v1/outcomes", make_outcome("CLEAR", inspected_at=day(5), known_at=day(6)))
        result = {"result": "nps", "inspected_at": day(8), "known_at": day(12)}
        send(opened, "/v1/outcomes", make_outcome("SEIZED", **result))
        yield opened


def score(client: Client, name: str, at: float, **changes: Any) -> None:
    own = {"sender_phone": "+44 20 7946 0018"} if name == "SEIZED" else {}
    send(client, "/v1/scores", make_consignment(name, received_at=day(at), **(NOBODY | own | changes)))


def send(client: Client, path: str, body: object) -> None:
    response = client.post(path, body, headers=HEADERS)
    assert response.status_code == 200, response.text


def sign_in(client: Client, key: str) -> Officer:
    person = Officer(client)
    person.sign_in(key)
    return person


def test_the_page_names_what_passed_and_ranks_what_is_in_hand(client: Client) -> None:
    page = sign_in(client, "all").get("/hunt?id=SEIZED")
    text = read_text(page)
    assert (
        "5 consignments of the last 30 days share its sender's phone: "
        "2 in hand, 2 passed without an inspection (1 released)." in text
    )
    table = text.partition("What shares something with it")[2].partition("In hand, ranked again")[0]
    for shown in (
        "PASSED",
        "passed, not inspected",
        "RELEASED",
        "released",
        "CLEAR",
        "inspected, nothing found",
    ):
        assert shown in table
    assert "STRANGER" in text.partition("In hand, ranked again")[2]
    for absent in ("GONE", "OLD ", "Nothing was scored again", "7946"):
        assert absent not in text


def test_consignments_of_other_offices_are_counted_and_not_named(client: Client) -> None:
    person = sign_in(client, "busan")
    assert person.get("/hunt?id=SEIZED").status_code == 404
    text = read_text(person.get("/hunt?id=ELSEWHERE"))
    assert "of them belong to other offices" in text
    assert "WAITING" not in text
    assert "STRANGER" not in text


def test_an_alert_is_hunted_for_by_its_indicators(client: Client, partner: ExchangePartner) -> None:
    seen = make_consignment(**(NOBODY | {"sender_phone": "+44 20 7946 0018"}))
    indicators = compute_indicators(seen, partner.operation)
    send(client, "/v1/messages", partner.seizure(message_id="S-7", indicators=indicators))
    person = sign_in(client, "all")
    text = read_text(person.get("/hunt?alert=XA/S-7"))
    assert "6 consignments of the last 30 days share its sender's phone" in text
    assert "There is nothing to hunt for" in read_text(person.get("/hunt?alert=none"))
    assert person.get("/hunt?id=none").status_code == 404
    assert person.get("/hunt").status_code == 404


def test_a_second_score_is_that_of_the_consignment_arriving_now_without_its_first_arrival(
    client: Client,
) -> None:
    """The score of SEIZED as the first and only one of its phone, on a log without it, equals its second score here."""
    settings = client.service.settings
    with LogReader.open_to_read(settings.database_url) as log:
        vault, names = client.service.vault, Pseudonyms(load_data_key(settings.data_key_file))
        model = load_rules_model(names, vault)
        entries = model.entries
        versions = {each.consignment_id: each for each in log.read_decisions()}
        state = rebuild_state(log, KeyReader(model.pipeline, entries))
        model.pipeline.alerts = state.alerts
        wanted = [entries.decode_consignment(versions[name]) for name in ("STRANGER", "WAITING", "CLEAR")]
        alone = []
        for c in wanted:
            fresh = rebuild_state(log, KeyReader(model.pipeline, entries))
            known = fresh.get_consignment(c.consignment_id)
            row = np.zeros(len(model.spec), dtype=np.float32)
            keys, counterparts = np.zeros((2, len(model.pipeline.kinds)), dtype=np.uint64)
            now = structs.replace(c, received_at=day(20))
            model.pipeline.fill_row(now, row, keys, counterparts, state.sequence + 1)
            fresh.record_arrival(known, to_day(day(20)), keys, counterparts, row)
            alone.append(float(model.risk.score_row(row, c.channel)))
        first = [score_again(model, state, c, day(20)) for c in wanted]
        again = [score_again(model, state, c, day(20)) for c in reversed(wanted)]
        assert first == alone
        assert again == first[::-1]
        assert len(SecondScorer(settings, names).score(log, vault, wanted, day(20))) == 3


def test_ranks_are_those_of_the_office() -> None:
    rows = [
        HuntRow("A", "A", "X", 0, IN_HAND, (), 0.9, 0.1),
        HuntRow("B", "B", "X", 0, IN_HAND, (), 0.2, 0.8),
        HuntRow("C", "C", "Y", 0, IN_HAND, (), 0.1, None),
        HuntRow("D", "D", "X", 0, "clear", (), 0.95, 0.95),
    ]
    ranked = {row.name: (row.rank_then, row.rank_now) for row in _rank(rows)}
    assert ranked == {"A": (1, 2), "B": (2, 1), "C": (1, None), "D": (None, None)}
    assert list_hunt_values(None, Viewer("k", "p", ()))["hits"] == []
