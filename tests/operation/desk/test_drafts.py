"""Drafts of a detection: shown as they would leave, approved by an officer with the scope act, signed, recorded, and sent once."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.examples import day, make_consignment, make_outcome
from support.officer import enter, read_text, serving_desk, write_keys
from support.partner import ExchangePartner, Ticking
from support.serving_examples import Client, bear, publish, settings_in

from consignments.exchange.documents import Seizure, Warning
from features.indicators.values import compute_indicators
from models.signatures.key_holders import Partner, Partners
from models.signatures.keys import SigningKey
from models.signatures.signed_message import read_signed_message

pytestmark = pytest.mark.usefixtures("own_keys")

HOSTILE = "<b onclick=x()>"


@pytest.fixture(scope="module")
def partner(tmp_path_factory: pytest.TempPathFactory) -> ExchangePartner:
    partner = ExchangePartner(tmp_path_factory.mktemp("drafts"))
    own = SigningKey.create(partner.exchange / "officer.key")
    members = [Partner("XA", partner.key.public.text), Partner("XB", own.public.text)]
    Partners(members).write(partner.exchange / "partners.toml")
    return partner


@pytest.fixture(scope="module")
def client(bundle: Path, partner: ExchangePartner, pages_here: None) -> Iterator[Client]:
    """A service with a detection for each test, and a consignment without a result."""
    folder = partner.exchange.parent
    publish(folder, bundle, "1")
    bound = {"key": "reader", "scopes": ("read",)}, {"key": "busan", "offices": ("Busan",)}
    keys = write_keys(folder / "keys.toml", {"key": "all", "person": "K. Lee"}, *bound)
    settings = settings_in(
        folder, NPSRISK_EXCHANGE_DIR=str(partner.exchange), NPSRISK_ADMINISTRATION="XB", NPSRISK_API_KEYS_FILE=str(keys)
    )  # fmt: skip
    found = {"result": "nps", "substance": "3-CMC", "substance_family": "cathinone", "quantity_g": 1250.0}
    with serving_desk(settings, Ticking()) as opened:
        for name in ("APPROVED", "TWICE", "KEPT", "UNSIGNED", "OPEN"):
            c = make_consignment(name, description="cotton t-shirts " + HOSTILE)
            opened.send("/v1/scores", c, headers=bear("all"))
            if name != "OPEN":
                outcome = make_outcome(name, **found, inspected_at=day(1))
                opened.send("/v1/outcomes", outcome, headers=bear("all"))
        yield opened


def read_fields(page: str, name: str) -> dict[str, str]:
    digest = re.search(r'name="digest" value="([^"]+)"', page)
    return {"id": name, "digest": digest[1], "send_seizure": "1", "send_warning": "1", "handling": "green"}


def list_outbox(partner: ExchangePartner) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted((partner.exchange / "outbox").glob("*"))}


def test_an_officer_approves_a_draft_a_partner_accepts_it(client: Client, partner: ExchangePartner) -> None:
    person = enter(client, "all")
    for name, has_draft in (("APPROVED", True), ("OPEN", False)):
        assert (f'href="/draft?id={name}"' in person.get(f"/consignment?id={name}").text) == has_draft
    page = person.get("/draft?id=APPROVED").text
    text = read_text(person.page)
    shown = ("1.25 kg of 3-CMC", "cathinone", "LHR>ICN", "610910")
    assert [each for each in shown if each not in text] == []
    # A token of the form is random, and may hold any four digits.
    plain = re.sub(r'value="[0-9a-f]{32,}"', "", page)
    assert [hidden for hidden in ("Orchid", "Harbour", "7946", HOSTILE) if hidden in plain] == []
    fields = read_fields(page, "APPROVED") | {"text": "parcels of cotton", "valid_days": "30"}
    page = person.send("/draft", **fields)
    assert page.status_code == 200
    assert "Signed, recorded and put into the outbox: XB/S-" in read_text(page)
    outbox = list_outbox(partner)
    members = Partners.read(partner.exchange / "partners.toml")
    seizure, warning = [read_signed_message(data, members, day(21)).message for data in outbox.values()]
    assert isinstance(seizure, Seizure)
    assert isinstance(warning, Warning)
    assert set(seizure.indicators) == set(compute_indicators(make_consignment(), partner.operation))
    assert (warning.text, warning.handling) == ("parcels of cotton", "green")
    assert (warning.expires_at - warning.issued_at).days == 30
    feed = client.read("/v1/messages", headers=bear("all"))["messages"]
    assert [each["message"]["message_id"] for each in feed] == [seizure.message_id, warning.message_id]
    assert "XB/" not in json.dumps(list(client.service.active.state.alert_versions))
    assert "by K. Lee" in read_text(person.get_until("/alerts", seizure.message_id))


def test_a_message_is_sent_again_if_the_outbox_lacks_it(client: Client, partner: ExchangePartner) -> None:
    person, earlier = enter(client, "all"), list_outbox(partner)
    fields = read_fields(person.get("/draft?id=TWICE").text, "TWICE")
    person.send("/draft", **fields)
    before = list_outbox(partner)
    assert len(before) == len(earlier) + 2
    last = client.service.log.read_last_sequence()
    for told in ("were sent before", "Signed, recorded"):
        person.get("/draft?id=TWICE")
        assert told in read_text(person.send("/draft", **fields))
        next(path for path in before if path not in earlier).unlink()
    person.get("/draft?id=TWICE")
    person.send("/draft", **fields)
    assert list_outbox(partner) == before
    assert client.service.log.read_last_sequence() == last


def test_nothing_is_sent_without_scope_token_and_choice(client: Client, partner: ExchangePartner) -> None:
    person, before = enter(client, "all"), list_outbox(partner)
    fields = read_fields(person.get("/draft?id=KEPT").text, "KEPT")
    assert person.send("/draft", token="forged", **fields).status_code == 403
    reader, busan = enter(client, "reader"), enter(client, "busan")
    assert "Approve and send" not in reader.get("/draft?id=KEPT").text
    assert busan.get("/draft?id=KEPT").status_code == 404
    busan.get("/try")
    assert [each.send("/draft", **fields).status_code for each in (reader, busan)] == [403, 404]
    nothing = {name: value for name, value in fields.items() if not name.startswith("send_")}
    changed = make_outcome("KEPT", result="nps", substance="4-CMC", inspected_at=day(1), known_at=day(11))
    last = client.service.log.read_last_sequence()
    for sent, status, told in (
        (nothing, 422, "Choose at least one"),
        (fields | {"text": "a\u202eb"}, 422, "cannot be printed"),
        (fields, 409, "The facts have changed"),
    ):
        if status == 409:
            client.send("/v1/outcomes", changed, headers=bear("all"))
        person.get("/draft?id=KEPT")
        page = person.send("/draft", **sent)
        assert (page.status_code, told in read_text(page)) == (status, True), told
    assert list_outbox(partner) == before
    assert client.service.log.read_last_sequence() == last + 1, "the changed result alone"


def test_a_page_says_why_there_is_no_draft_or_none_sent(client: Client, partner: ExchangePartner) -> None:
    person, before = enter(client, "all"), list_outbox(partner)
    assert "no confirmed detection" in read_text(person.get("/draft?id=OPEN"))
    fields = read_fields(person.get("/draft?id=UNSIGNED").text, "UNSIGNED")
    key = partner.exchange / "officer.key"
    key.rename(key.with_suffix(".away"))
    page = person.send("/draft", **fields)
    key.with_suffix(".away").rename(key)
    assert (page.status_code, "the signing key cannot be read" in read_text(page)) == (422, True)
    assert list_outbox(partner) == before
