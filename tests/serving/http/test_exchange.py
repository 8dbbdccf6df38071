"""Messages of partners over HTTP: recorded once, alerts from then on, and no personal data in the log."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.databases import state_environment
from support.examples import day, make_consignment, make_outcome
from support.partner import ExchangePartner, Ticking
from support.serving_examples import Client, publish, serving, settings_in

from consignments.exchange.documents import Feedback, Sighting
from features.indicators.operation_keys import OperationKey, OperationKeys, install_keys
from features.indicators.values import compute_indicators
from models.signatures.key_holders import Partner, Partners
from models.signatures.keys import SigningKey
from models.signatures.signed_message import read_signed_message
from npsrisk import main

PERSONAL = (b"Orchid", b"Harbour", b"7946 0018", b"Teheran")


@pytest.fixture(autouse=True)
def own_keys() -> Iterator[None]:
    """A service installs its keys for the whole process."""
    yield
    install_keys(OperationKeys())


CLOCK = Ticking()


@pytest.fixture
def partner(tmp_path: Path) -> "ExchangePartner":
    return ExchangePartner(tmp_path)


@pytest.fixture
def client(tmp_path: Path, bundle: Path, partner: ExchangePartner) -> Iterator[Client]:
    publish(tmp_path, bundle, "1")
    with serving(settings_in(tmp_path, NPSRISK_EXCHANGE_DIR=str(partner.exchange)), CLOCK) as opened:
        yield opened


def score(client: Client, name: str, **changes: Any) -> dict[str, Any]:
    return client.send(
        "/v1/scores?features=true&reasons=10", make_consignment(name, received_at=None, **changes)
    )


def strength(client: Client, name: str, **changes: Any) -> float:
    found: float = score(client, name, **changes)["features"]["alerts.indicator_strength"]
    return found


def test_a_seizure_matches_from_its_receipt_to_its_withdrawal(
    client: Client, partner: ExchangePartner
) -> None:
    assert strength(client, "RB1") == 0
    assert [client.send("/v1/messages", partner.seizure())["repeated"] for _ in range(2)] == [False, True]
    assert strength(client, "RB2") > 1
    client.send("/v1/messages", partner.withdrawal("S-1"))
    assert strength(client, "RB3") == 0
    assert client.send("/v1/messages", partner.seizure())["repeated"]
    assert strength(client, "RB4") == 0


def test_a_message_whose_withdrawal_came_first_matches_nothing(
    client: Client, partner: ExchangePartner
) -> None:
    client.send("/v1/messages", partner.withdrawal("S-1"))
    client.send("/v1/messages", partner.seizure())
    assert strength(client, "RB1") == 0


def test_a_list_is_recorded_and_read_back_in_order(client: Client, partner: ExchangePartner) -> None:
    found = client.send(
        "/v1/messages", {"messages": [partner.seizure(), partner.warning(), partner.warning(author="XB")]}
    )
    assert [receipt["id"] for receipt in found["messages"]] == ["XA/S-1", "XA/W-1"]
    assert [error["index"] for error in found["errors"]] == [2]
    feed = client.get("/v1/messages?limit=1").json()
    assert (feed["messages"][0]["message"]["kind"], feed["more"]) == ("seizure", True)
    rest = client.get(f"/v1/messages?after={feed['next']}").json()
    assert [each["message"]["message_id"] for each in rest["messages"]] == ["W-1"]
    assert rest["messages"][0]["envelope"] == partner.warning()


def test_a_forged_message_is_refused_and_changes_nothing(client: Client, partner: ExchangePartner) -> None:
    forged = partner.warning()
    forged["signatures"][0]["sig"] = "A" * 86 + "=="
    response = client.post("/v1/messages", forged)
    assert response.status_code == 422
    assert "no signature of its author holds" in response.text
    assert client.get("/v1/messages").json()["messages"] == []


def test_another_content_under_a_known_identifier_needs_a_higher_revision(
    client: Client, partner: ExchangePartner
) -> None:
    client.send("/v1/messages", partner.warning())
    assert client.post("/v1/messages", partner.warning(hs_code="62")).status_code == 422
    client.send("/v1/messages", partner.warning(hs_code="62", revision=2))
    assert score(client, "RB1")["features"]["alerts.matching"] == 0


def test_the_indicators_of_an_unknown_operation_are_refused_until_its_key_comes(
    client: Client, partner: ExchangePartner, tmp_path: Path
) -> None:
    other = OperationKey.create(tmp_path / "other.operation", "OTHER")
    message = partner.seizure(indicators=compute_indicators(make_consignment(), other))
    refused = client.post("/v1/messages", message)
    assert refused.status_code == 422
    assert "its indicators cannot be compared" in refused.text
    (tmp_path / "other.operation").rename(partner.exchange / "keys" / "other.operation")
    client.service.exchange.refresh()
    client.send("/v1/messages", message)
    assert strength(client, "RB1") > 1


def test_messages_survive_a_restart(tmp_path: Path, bundle: Path, partner: ExchangePartner) -> None:
    publish(tmp_path, bundle, "1")
    settings = settings_in(tmp_path, NPSRISK_EXCHANGE_DIR=str(partner.exchange))
    with serving(settings, CLOCK) as first:
        first.send("/v1/messages", partner.seizure())
        before = strength(first, "RB1")
    with serving(settings, CLOCK) as second:
        assert strength(second, "RB2") == pytest.approx(before, abs=0.01)
        assert second.send("/v1/messages", partner.seizure())["repeated"]
        second.send("/v1/messages", partner.withdrawal("S-1"))
        assert strength(second, "RB3") == 0


def test_no_personal_data_is_in_the_log_in_plain(
    client: Client, partner: ExchangePartner, tmp_path: Path
) -> None:
    client.send("/v1/messages", partner.seizure())
    client.send("/v1/messages", partner.warning())
    score(client, "RB1")
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.suffix in (".db", ".db-wal", ".log", ".toml", ".operation"):
            content = path.read_bytes()
            assert not [word for word in PERSONAL if word in content], path
    assert any(path.suffix == ".db" for path in tmp_path.rglob("*"))


def test_decisions_with_indicators_are_recomputed_bit_for_bit(
    tmp_path: Path, bundle: Path, partner: ExchangePartner
) -> None:
    publish(tmp_path, bundle, "1")
    with serving(settings_in(tmp_path, NPSRISK_EXCHANGE_DIR=str(partner.exchange)), CLOCK) as client:
        score(client, "RB1")
        client.send("/v1/messages", {"messages": [partner.seizure(), partner.warning()]})
        assert strength(client, "RB2") > 1
        client.send("/v1/messages", partner.withdrawal("S-1"))
        score(client, "RB3")
    environment = state_environment(tmp_path) | {"NPSRISK_EXCHANGE_DIR": str(partner.exchange)}
    found = CliRunner().invoke(main, ["parity", "--json"], env=environment)
    told = json.loads(found.stdout.splitlines()[-1])
    assert (found.exit_code, told["compared"], told["differences"]) == (0, 3, {})
    without = CliRunner().invoke(
        main, ["parity", "--json"], env=environment | {"NPSRISK_EXCHANGE_DIR": str(tmp_path / "none")}
    )
    assert "alerts.indicator_strength" in json.loads(without.stdout.splitlines()[-1])["differences"]


def test_feedback_from_the_log_states_what_a_message_brought(
    tmp_path: Path, bundle: Path, partner: ExchangePartner
) -> None:
    own = SigningKey.create(partner.exchange / "officer.key")
    members = [*Partners.read(partner.exchange / "partners.toml").members, Partner("XB", own.public.text)]
    Partners(members).write(partner.exchange / "partners.toml")
    publish(tmp_path, bundle, "1")
    with serving(settings_in(tmp_path, NPSRISK_EXCHANGE_DIR=str(partner.exchange)), CLOCK) as client:
        score(client, "RB1")
        client.send("/v1/messages", partner.seizure())
        score(client, "RB2")
        score(client, "RB3", sender_name=None)
        found = make_outcome("RB2", result="nps", inspected_at=day(11), known_at=day(12))
        assert client.post("/v1/outcomes", found).status_code == 200
    environment = state_environment(tmp_path) | {
        "NPSRISK_EXCHANGE_DIR": str(partner.exchange), "NPSRISK_ADMINISTRATION": "XB", "NPSRISK_EXCHANGE_FEEDBACK": "true",
    }  # fmt: skip
    done = CliRunner().invoke(main, ["exchange", "feedback", "--json"], env=environment)
    assert done.exit_code == 0, done.output
    sent = [Path(path) for path in json.loads(done.stdout.splitlines()[-1])["messages"]]
    now = datetime.now(UTC)
    members_now = Partners.read(partner.exchange / "partners.toml")
    feedback, sighting = [read_signed_message(path.read_bytes(), members_now, now).message for path in sent]
    assert isinstance(feedback, Feedback)
    assert (feedback.about_author, feedback.about) == ("XA", "S-1")
    assert (feedback.matched, feedback.inspected, feedback.known, feedback.found) == (2, 1, 1, 1)
    assert isinstance(sighting, Sighting)
    assert sighting.seen == 2
    half = CliRunner().invoke(main, ["exchange", "feedback", "--at", day(9).isoformat()], env=environment)
    assert (half.exit_code, "a table is missing" in half.stderr) == (2, True)
