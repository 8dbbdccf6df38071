"""The page of alerts: matches by indicators count too, and messages of partners are shown with what they brought."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.examples import NOBODY, day, make_outcome
from support.officer import Officer, enter, read_text, serving_desk
from support.partner import ExchangePartner, Ticking
from support.serving_examples import publish, settings_in

from consignments.records import Alert
from operation.desk.formats import render_template
from operation.desk.messages import PageRequest, Viewer
from operation.desk.views.alerts import view_alerts
from operation.yields import YieldCounts

pytestmark = pytest.mark.usefixtures("own_keys")
CELLS = re.compile(r'class="number" data-label="[^"]+">([^<]+)<')
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def officer(bundle: Path, partner: ExchangePartner, pages_here: None) -> Iterator[Officer]:
    folder = partner.exchange.parent
    publish(folder, bundle, "1")
    settings = settings_in(folder, NPSRISK_EXCHANGE_DIR=str(partner.exchange), NPSRISK_ADMINISTRATION="XB")
    with serving_desk(settings, Ticking()) as client:
        yield enter(client, person="K. Lee")


def test_a_match_by_an_indicator_counts_in_the_yield(officer: Officer, partner: ExchangePartner) -> None:
    client = officer.client
    client.score("RB0", received_at=None)
    for message in (partner.seizure(substance=HOSTILE), partner.feedback("S-9")):
        client.send("/v1/messages", message)
    for name, changes in (("RB1", {}), ("RB2", {"description": "ketone"}), ("RB3", NOBODY)):
        client.score(name, received_at=None, **changes)
    client.send("/v1/outcomes", make_outcome("RB1", result="nps"))
    client.send("/v1/outcomes", make_outcome("RB2", result="pending", known_at=None))
    page = officer.get_until("/alerts", ">2</td>")
    rows = [["2", "2", "1", "100 %"], ["7", "4", "1", "25.0 %"], ["2", "2", "1", "100 %"]]
    assert CELLS.findall(page.text) == [cell for row in rows for cell in row]
    client.send("/v1/alerts", Alert("A-1", day(0), text=HOSTILE, sender_name="Orchid Trading Ltd"))
    page = officer.get_until("/alerts", ">A-1<")
    shown = officer.get("/alerts?personal=1").text
    assert ["Orchid Trading Ltd" in each for each in (page.text, shown)] == [False, True]
    text = read_text(page)
    assert "sender: hidden" in text
    assert re.search(r"\d+ indicators of parties", text)
    assert "XA/F-S-9 XB/S-9 feedback TLP:AMBER" in text
    assert (HOSTILE in page.text, HOSTILE in text) == (False, True)
    client.send("/v1/messages", partner.warning())
    (partner.exchange / "keys" / "other.operation").write_text("secret = 1")
    officer.get_until("/alerts", "cannot be read")
    text = read_text(officer.get_until("/alerts", "XA/W-1"))
    for told in ("the file holds no operation key", "XA/W-1"):  # a damaged key file stops nothing
        assert told in text


READER = Viewer("key", "K. Lee", ("read",))
NO_COUNTS = YieldCounts(0, 0, None, 0, 0, 0, 0)


def test_the_page_is_shown_while_a_thread_adds_alerts(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {f"A-{place}": Alert(f"A-{place}", day(0), hs_code="6109") for place in range(2)}
    yields = SimpleNamespace(alerts=dict(known), messages=[], count=lambda _: NO_COUNTS)
    sources: Any = SimpleNamespace(yields=SimpleNamespace(get=lambda: yields), key_fault="")

    def read_meanwhile(alert: Alert, _now_us: int) -> bool:
        yields.alerts[f"{alert.alert_id}, later"] = alert
        return True

    monkeypatch.setattr("operation.desk.views.alerts.is_active", read_meanwhile)
    shown = view_alerts(sources, PageRequest("alerts", {}, READER, "", 0), READER)
    assert [row["alert"] for row in shown["rows"]] == [*known.values()]
    assert yields.alerts.keys() > known.keys()


def test_an_imported_alert_that_nothing_can_match_says_so() -> None:
    alert = Alert("A-9", issued_at=day(0), substance_family="nitazene")
    row = {"alert": alert, "patterns": [], "indicators": 0, "active": True, "counts": NO_COUNTS}
    values = {"rows": [row], "messages": [], "key_fault": "", "personal": False}
    page = render_template("alerts", PageRequest("alerts", {}, READER, "", 0), values, 200).html.decode()
    assert "names nothing that a consignment could match" in page
