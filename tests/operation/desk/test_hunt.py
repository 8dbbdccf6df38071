"""The hunt of a page: what shares something with a detection, and what is in hand ranked again, as known then and now."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from support.examples import NOBODY, PHONE, day, make_consignment, make_outcome
from support.partner import ExchangePartner, Ticking
from support.serving_examples import Client, publish, serving, settings_in

from consignments.records import Consignment, Outcome
from consignments.tables import read_table
from features.batch import FeatureParameters, Tables
from features.history.pseudonyms import Pseudonyms
from features.indicators.operation_keys import install_keys
from features.indicators.values import compute_indicators
from features.streams import compute_feature_matrix
from models.bundle import load_bundle
from operation.desk.messages import PageRequest, Viewer
from operation.desk.views.renderer import render_page
from operation.desk.views.sources import PageSources
from operation.hunts.hunt import IN_HAND, HuntLimits, HuntRow, rank_in_hand
from operation.hunts.logged import LogHunter, score_again
from operation.hunts.tables import find_consignment_target, hunt_tables
from serving.event_log.reader import LogReader
from serving.maintenance.export import export_log
from serving.scoring.loaded_model import PastModels, load_rules_model
from serving.state.snapshots import rebuild_state

pytestmark = pytest.mark.usefixtures("own_keys")
ATTEMPTS = 60
CLOCK = Ticking()


@pytest.fixture(scope="module")
def client(partner: ExchangePartner, bundle: Path) -> Iterator[Client]:
    folder = partner.exchange.parent
    publish(folder, bundle, "1")
    with serving(settings_in(folder, NPSRISK_EXCHANGE_DIR=str(partner.exchange)), CLOCK) as opened:
        for name, at, changes in (
            ("SEIZED", 0, {}),
            ("OLD", -20, {}),
            ("PASSED", 2, {"sender_phone": "0044 2079460018"}),
            ("RELEASED", 3, {}),
            ("CLEAR", 4, {}),
            ("WAITING", 19, {}),
            ("STRANGER", 19.1, {"sender_phone": None, "description": "books"}),
            ("ELSEWHERE", 19.2, {"office": "Busan"}),
            ("GONE", 19.3, {}),
        ):
            opened.score(name, received_at=day(at), **(NOBODY | {"sender_phone": PHONE} | changes))
        opened.send("/v1/cancellations", {"consignment_id": "GONE"})
        opened.send("/v1/actions", {"consignment_id": "RELEASED", "action": "release", "reason": "checked"})
        for name, result, at in (("CLEAR", "clear", 5), ("SEIZED", "nps", 8)):
            outcome = make_outcome(name, result=result, inspected_at=day(at), known_at=day(1.5 * at))
            opened.send("/v1/outcomes", outcome)
        yield opened


@pytest.fixture(scope="module")
def sources(client: Client) -> Iterator[PageSources]:
    """The sources of the page process, in this process, which is not of low priority."""
    made = PageSources(client.service.settings)
    yield made
    made.log.close()


def render(sources: PageSources, offices: tuple[str, ...] | None = None, **query: str) -> tuple[int, str]:
    """Render the page of a hunt, again while it is being prepared; return its status and its text."""
    viewer = Viewer("key", "K. Lee", ("read",), offices)
    for _ in range(ATTEMPTS):
        answer = render_page(sources, PageRequest("hunt", query, viewer, "", CLOCK()))
        html = answer.html.decode()
        assert answer.preparing == ("This page is being prepared" in html)
        if not answer.preparing:
            assert not re.search(r"<script|<style|\sstyle=|\son\w+=", html)
            return answer.status, " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())
    raise AssertionError("the hunt does not end")


def test_the_page_names_what_passed_and_ranks_what_is_in_hand(sources: PageSources) -> None:
    status, text = render(sources, id="SEIZED")
    assert status == 200
    shared = "5 consignments of the last 30 days share its sender's phone"
    assert f"{shared}: 2 in hand, 2 passed without an inspection (1 released)." in text
    table, _, rest = text.partition("What shares something with it")[2].partition("Linked, but not")
    linked, _, ranked = rest.partition("In hand, ranked again")
    states = ("passed, not inspected", "released", "inspected, nothing found")
    assert [each for each in ("PASSED", "RELEASED", "CLEAR", *states) if each not in table] == []
    assert [each for each in ("GONE", "OLD ", "Nothing was scored again", "7946") if each in table] == []
    assert "STRANGER" in ranked
    assert "OLD" in linked, "it is older than the days of the hunt"
    assert "Open all linked consignments" in linked


def test_the_page_waits_for_the_links_so_that_nothing_that_is_linked_is_left_out(
    sources: PageSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    render(sources, id="SEIZED")
    monkeypatch.setattr(sources.links, "get", lambda: None)
    asked = PageRequest("hunt", {"id": "SEIZED"}, Viewer("key", "K. Lee", ("read",), None), "", CLOCK())
    assert render_page(sources, asked).preparing


def test_consignments_of_other_offices_are_counted_and_not_named(sources: PageSources) -> None:
    assert render(sources, ("Busan",), id="SEIZED")[0] == 404
    _, text = render(sources, ("Busan",), id="ELSEWHERE")
    assert "of them belong to other offices" in text
    assert ("WAITING" in text, "STRANGER" in text) == (False, False)


def test_alerts_hunt_by_indicators(client: Client, sources: PageSources, partner: ExchangePartner) -> None:
    indicators = compute_indicators(make_consignment(**(NOBODY | {"sender_phone": PHONE})), partner.operation)
    client.send("/v1/messages", partner.seizure(message_id="S-7", indicators=indicators))
    install_keys(sources.keys)
    told = "6 consignments of the last 30 days share its sender's phone"
    assert told in render(sources, alert="XA/S-7")[1]
    assert "There is nothing to hunt for" in render(sources, alert="none")[1]
    assert render(sources, id="none")[0] == render(sources)[0] == 404


def test_the_command_gives_the_scores_of_the_page(client: Client, bundle: Path, tmp_path: Path) -> None:
    settings, vault = client.service.settings, client.service.vault
    model = load_rules_model(vault)
    with LogReader.open_to_read(settings.database_url) as log:
        state = rebuild_state(log, model.keys)
        models = PastModels(settings.state_dir, lambda *_: load_bundle(bundle))
        export_log(log, vault, models, tmp_path / "out")
        decide = model.entries.decode_consignment
        versions = {each.consignment_id: decide(each) for each in log.read_decisions()}
        of_page = {name: score_again(model, state, each, day(20.5)) for name, each in versions.items()}
        again = LogHunter(settings).score_again(
            log, vault, [versions["WAITING"], versions["CLEAR"]], day(20.5)
        )
        assert len(again) == 2
    kinds = {"consignments": Consignment, "outcomes": Outcome}
    frames = [read_table(tmp_path / "out" / f"{name}.parquet", kind).frame for name, kind in kinds.items()]
    tables = Tables(*frames)
    parameters = FeatureParameters(pseudonyms=Pseudonyms(vault.data_key))

    def score_rows(tables: Tables, keep: NDArray[np.bool_], second: bool) -> NDArray[np.float64]:
        matrix = compute_feature_matrix(tables, parameters, keep=keep, second=second)
        return model.risk.score(matrix.X, tables.consignments["channel"].iloc[matrix.rows].tolist())

    limits = HuntLimits(day(20.5))
    found = hunt_tables(tables, find_consignment_target(tables, "SEIZED", limits), limits, score_rows)
    rows = pd.DataFrame([*found.hits, *found.in_hand])
    assert set(rows["consignment_id"]) >= {"PASSED", "RELEASED", "CLEAR", "WAITING", "STRANGER", "ELSEWHERE"}
    assert rows["score_now"].tolist() == [of_page[name] for name in rows["consignment_id"]]


def test_ranks_are_those_of_the_office() -> None:
    rows = [
        HuntRow("A", "A", "X", day(0), IN_HAND, (), 0.9, 0.1),
        HuntRow("B", "B", "X", day(0), IN_HAND, (), 0.2, 0.8),
        HuntRow("C", "C", "Y", day(0), IN_HAND, (), 0.1, None),
        HuntRow("D", "D", "X", day(0), "clear", (), 0.95, 0.95),
    ]
    ranked = {row.consignment_id: (row.rank_then, row.rank_now) for row in rank_in_hand(rows)}
    assert ranked == {"A": (1, 2), "B": (2, 1), "C": (1, None), "D": (None, None)}
