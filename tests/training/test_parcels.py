"""Thirty parcels by hand: an officer knows which of them to look at, and why, before any model says so."""

import json
import tomllib
from datetime import timedelta

import pytest
from support.cases import DATA
from support.examples import make_consignment
from support.trained_run import TARGET

from consignments.records import Consignment
from consignments.tables import build_frame
from features.batch import Tables
from training import api

PARCELS = tomllib.loads((DATA / "parcels.toml").read_text(encoding="utf-8"))
BANDS = {"look": ("high", "elevated"), "leave": ("routine",)}
GIVEN = ("Abel", "Boris", "Clara", "Doris", "Edgar", "Flora")
FAMILIES = ("Ash", "Birch", "Cedar", "Dogwood", "Elm")


def make_strangers(number):
    """Make a sender and a consignee of whom nothing is known."""
    given, family = GIVEN[number % len(GIVEN)], FAMILIES[number // len(GIVEN)]
    return {
        "sender_name": f"{family} {given} Trading Ltd",
        "sender_address": f"{number + 3} {family} Road",
        "sender_phone": f"+44 20 7946 01{number:02}",
        "consignee_name": f"{given} {family}",
        "consignee_address": f"{number + 3}-12, {number + 40} {given}-ro",
        "consignee_phone": f"010-5551-12{number:02}",
    }


@pytest.fixture(scope="module")
def answers(shared_run):
    """Score all parcels on the day after the shared world, with its past as history."""
    past, outcomes = shared_run.tables.consignments, shared_run.tables.outcomes
    found = past[past["consignment_id"].isin(outcomes["consignment_id"][outcomes["result"] == "nps"])]
    identities = ["sender_name", "sender_address", "sender_phone", "consignee_address", "consignee_phone"]
    known = found.dropna(subset=identities).iloc[-1].dropna()
    received = (past["received_at"].max().floor("D") + timedelta(days=1)).to_pydatetime()
    parcels = [
        make_consignment(
            **{"consignment_id": f"H{number:02}", "received_at": received}
            | make_strangers(number)
            | parcel.get("changes", {})
            | dict.fromkeys(parcel.get("without", ()))
            | {name: known[name] for name in parcel.get("like", ()) if name in known}
        )
        for number, parcel in enumerate(PARCELS.values())
    ]
    bundle = api.load_model("challenger", target=TARGET, store=shared_run.registry.tracking_uri)
    return api.score(bundle, Tables(build_frame(parcels, Consignment)), history=shared_run.tables, reasons=3)


@pytest.mark.parametrize("name", PARCELS)
def test_an_officer_finds_what_he_expects(answers, name):
    parcel, answer = PARCELS[name], answers.iloc[[*PARCELS].index(name)]
    reasons = json.loads(answer["reasons"])
    assert "band" not in parcel or answer["band"] in BANDS[parcel["band"]]
    first = reasons[0]["code"] if reasons else "none"
    assert "first" not in parcel or first in parcel["first"]
    texts = [fact["text"] for reason in reasons for fact in reason["facts"]]
    assert len(texts) == len(set(texts))
