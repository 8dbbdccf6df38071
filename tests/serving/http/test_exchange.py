"""Messages of partners over HTTP: recorded once, alerts from then on, and no personal data in the log."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.databases import stored_bytes
from support.examples import day, make_consignment, make_outcome
from support.partner import ExchangePartner, Ticking
from support.serving_examples import Client
from support.site import Site

from consignments.exchange.documents import Feedback, Sighting
from features.indicators.operation_keys import OperationKey
from features.indicators.values import compute_indicators
from models.signatures.key_holders import Partner, Partners
from models.signatures.keys import SigningKey
from models.signatures.signed_message import read_signed_message

PERSONAL = (b"Orchid", b"Harbour", b"7946 0018", b"Teheran")
pytestmark = pytest.mark.usefixtures("own_keys")
CLOCK = Ticking()


@pytest.fixture
def partner(tmp_path: Path) -> "ExchangePartner":
    return ExchangePartner(tmp_path)


@pytest.fixture
def client(site: Site, partner: ExchangePartner) -> Iterator[Client]:
    with site.serve(CLOCK, NPSRISK_EXCHANGE_DIR=str(partner.exchange)) as opened:
        yield opened


def score(client: Client, name: str, **changes: Any) -> dict[str, Any]:
    return client.score(name, "?features=true&reasons=10", received_at=None, **changes)


def strength(client: Client, name: str, **changes: Any) -> float:
    return score(client, name, **changes)["features"]["alerts.indicator_strength"]


def test_a_seizure_matches_from_receipt_to_withdrawal(client: Client, partner: ExchangePartner) -> None:
    assert strength(client, "RB1") == 0
    assert [client.send("/v1/messages", partner.seizure())["repeated"] for _ in range(2)] == [False, True]
    assert strength(client, "RB2") > 1
    client.send("/v1/messages", partner.withdrawal("S-1"))
    assert strength(client, "RB3") == 0
    assert client.send("/v1/messages", partner.seizure())["repeated"]
    for message in (partner.withdrawal("S-2"), partner.seizure(message_id="S-2")):
        client.send("/v1/messages", message)
    assert strength(client, "RB4") == 0


def test_messages_are_read_back_and_forged_ones_refused(client: Client, partner: ExchangePartner) -> None:
    forged = partner.warning()
    forged["signatures"][0]["sig"] = "A" * 86 + "=="
    response = client.post("/v1/messages", forged)
    assert (response.status_code, "no signature of its author holds" in response.text) == (422, True)
    assert client.read("/v1/messages")["messages"] == []
    sent = [partner.seizure(), partner.warning(), partner.warning(author="XB")]
    found = client.send("/v1/messages", {"messages": sent})
    assert [receipt["id"] for receipt in found["messages"]] == ["XA/S-1", "XA/W-1"]
    assert [error["index"] for error in found["errors"]] == [2]
    feed = client.read("/v1/messages?limit=1")
    assert (feed["messages"][0]["message"]["kind"], feed["more"]) == ("seizure", True)
    (rest,) = client.read(f"/v1/messages?after={feed['next']}")["messages"]
    assert (rest["message"]["message_id"], rest["envelope"]) == ("W-1", partner.warning())
    client.send("/v1/messages", partner.withdrawal("S-1"))
    assert client.post("/v1/messages", partner.warning(hs_code="62")).status_code == 422
    assert score(client, "RB1")["features"]["alerts.matching"] == 1
    client.send("/v1/messages", partner.warning(hs_code="62", revision=2))
    assert score(client, "RB2")["features"]["alerts.matching"] == 0


def test_indicators_need_their_key(client: Client, partner: ExchangePartner, tmp_path: Path) -> None:
    key = tmp_path / "other.operation"
    indicators = compute_indicators(make_consignment(), OperationKey.create(key, "OTHER"))
    message = partner.seizure(indicators=indicators)
    refused = client.post("/v1/messages", message)
    assert (refused.status_code, "its indicators cannot be compared" in refused.text) == (422, True)
    key.rename(partner.exchange / "keys" / key.name)
    client.service.exchange.refresh()
    client.send("/v1/messages", message)
    assert strength(client, "RB1") > 1


def test_messages_last_encrypted_and_parity_holds(site: Site, partner: ExchangePartner) -> None:
    exchange = {"NPSRISK_EXCHANGE_DIR": str(partner.exchange)}
    with site.serve(CLOCK, **exchange) as client:
        score(client, "RB1")
        client.send("/v1/messages", {"messages": [partner.seizure(), partner.warning()]})
        before = strength(client, "RB2")
        assert before > 1
    with site.serve(CLOCK, **exchange) as client:
        assert strength(client, "RB3") == pytest.approx(before, abs=0.01)
        assert client.send("/v1/messages", partner.seizure())["repeated"]
        client.send("/v1/messages", partner.withdrawal("S-1"))
        assert strength(client, "RB4") == 0
    files = [path for path in site.folder.rglob("*") if path.suffix in (".log", ".toml", ".operation")]
    written = stored_bytes(site.folder) + b"".join(path.read_bytes() for path in files)
    assert not [word for word in PERSONAL if word in written]
    found = site.told("parity", **exchange)
    assert (found["compared"], found["differences"]) == (4, {})
    lost = site.told("parity", code=1, NPSRISK_EXCHANGE_DIR=str(site.folder / "none"))
    assert "alerts.indicator_strength" in lost["differences"]


def test_feedback_from_the_log_states_what_a_message_brought(site: Site, partner: ExchangePartner) -> None:
    own = SigningKey.create(partner.exchange / "officer.key")
    members = [*Partners.read(partner.exchange / "partners.toml").members, Partner("XB", own.public.text)]
    Partners(members).write(partner.exchange / "partners.toml")
    exchange = {"NPSRISK_EXCHANGE_DIR": str(partner.exchange)}
    with site.serve(CLOCK, **exchange) as client:
        score(client, "RB1")
        client.send("/v1/messages", partner.seizure())
        score(client, "RB2")
        score(client, "RB3", sender_name=None)
        client.send("/v1/outcomes", make_outcome("RB2", result="nps", inspected_at=day(11), known_at=day(12)))
    environment = exchange | {"NPSRISK_ADMINISTRATION": "XB", "NPSRISK_EXCHANGE_FEEDBACK": "true"}
    sent = site.told("exchange", "feedback", **environment)["messages"]
    members_now = Partners.read(partner.exchange / "partners.toml")
    feedback, sighting = [
        read_signed_message(Path(path).read_bytes(), members_now, datetime.now(UTC)).message for path in sent
    ]
    assert isinstance(feedback, Feedback)
    assert (feedback.about_author, feedback.about) == ("XA", "S-1")
    assert (feedback.matched, feedback.inspected, feedback.known, feedback.found) == (2, 1, 1, 1)
    assert isinstance(sighting, Sighting)
    assert sighting.seen == 2
    code, output = site.run("exchange", "feedback", "--at", day(9).isoformat(), **environment)
    assert (code, "a table is missing" in output) == (2, True)
