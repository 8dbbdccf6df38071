"""Drafts: facts in clear, parties as hashes; and yields that add up."""

import pytest
from support.examples import NOBODY, day, make_consignment, make_late_versions, make_outcome
from support.table_examples import build_tables

from consignments.exchange.documents import Feedback, Sighting, check_message, encode_message
from consignments.records import Alert, Consignment
from consignments.tables import to_records
from features.indicators.operation_keys import OperationKey, OperationKeys, install_keys
from features.indicators.values import compute_indicators
from operation.exchange import drafts
from operation.exchange.reports import draft_reports, list_confirmed
from operation.inspections import compute_yields, find_period, join_inspections

KEY = OperationKey("EXAMPLE", bytes(32))
OPTIONS = drafts.DraftOptions("XB", day(20), KEY)
SEIZED = make_consignment("SEIZED")
FOUND = make_outcome(
    "SEIZED", result="nps", substance="3-CMC", substance_family="cathinone", quantity_g=1250.0, concealment="double_wall",
    inspected_at=day(1), known_at=day(10),
)  # fmt: skip


@pytest.fixture(autouse=True)
def keys():
    install_keys(OperationKeys([KEY]))
    yield
    install_keys(OperationKeys())


def test_a_seizure_and_its_warning_have_the_facts_and_no_personal_data() -> None:
    message = drafts.draft_seizure(drafts.ConfirmedSeizure(SEIZED, FOUND), OPTIONS, "1")
    assert (message.substance, message.quantity_g, message.hs_code) == ("3-CMC", 1250.0, "610910")
    assert message.indicators == compute_indicators(SEIZED, KEY)
    text = encode_message(message).decode()
    assert [word for word in ("Orchid", "Harbour", "Kim", "Teheran", "7946", "SEIZED") if word in text] == []
    warning = drafts.draft_warning(message)
    found = "1.25 kg of 3-CMC, from GB, declared as cotton t-shirts"
    assert warning.text == f"{found}, concealed in double wall, seized on 2024-03-05"
    assert (warning.departure_country, warning.cover, warning.indicators) == ("GB", "cotton t-shirts", ())
    for each in (message, warning):
        check_message(each, day(20))


def test_what_stands_at_the_time_is_confirmed_of_the_version_that_counts() -> None:
    corrected = make_outcome("SEIZED", result="clear", inspected_at=day(1), known_at=day(15))
    known = build_tables([SEIZED], [FOUND, corrected])
    assert [len(list_confirmed(known, day(at), "nps")) for at in (9, 12, 16)] == [0, 1, 0]
    both = make_late_versions("SEIZED", 0, description="powder")
    (confirmed,) = list_confirmed(build_tables(both, [FOUND]), day(20), "nps")
    assert confirmed.consignment.description == "cotton t-shirts"


def test_an_identifier_that_many_share_is_not_sent() -> None:
    only_address = NOBODY | {"sender_address": SEIZED.sender_address}
    many = range(drafts.MAX_SHARING + 1)
    own = [{"sender_name": f"Shop {n}", "consignee_address": f"{n} Road"} for n in many]
    crowd = [make_consignment(f"C{n}", **only_address | each) for n, each in enumerate(own)]
    found = drafts.ConfirmedSeizure(SEIZED, FOUND)
    common = drafts.find_common_indicators(crowd, [found], KEY)
    kinds = {token.split(":")[1].removeprefix("address/") for token in common}
    assert kinds == {"exact", "premises", "street"}
    sent = drafts.draft_seizure(found, OPTIONS._replace(common=common), "1").indicators
    assert set(sent) == set(compute_indicators(SEIZED, KEY)) - common
    assert drafts.find_common_indicators(crowd[1:], [found], KEY) == frozenset()


def test_the_reports_of_a_partner_s_message_are_a_hand_count() -> None:
    indicators = compute_indicators(make_consignment(), KEY)
    own = {author: {"author": author, "indicators": indicators} for author in ("XA", "XB")}
    alerts = [Alert(f"{author}/S-1", day(-5), **fields) for author, fields in own.items()]
    alerts.append(Alert("LOCAL", day(-5), hs_code="61"))
    arrivals, parties = {"A": 0, "B": 1, "C": 2, "D": -6, "E": 3}, {"C": NOBODY}
    times = {name: {"received_at": day(at)} for name, at in arrivals.items()}
    rows = [make_consignment(name, **time, **parties.get(name, {})) for name, time in times.items()]
    results = {"A": "nps", "B": "clear", "C": "nps", "E": "pending"}
    outcomes = [
        make_outcome(
            name, result=result, selected_at=day(arrivals[name] + 0.5), inspected_at=day(arrivals[name] + 1),
            known_at=None if result == "pending" else day(4),
        )
        for name, result in results.items()
    ]  # fmt: skip
    read = build_tables(rows, outcomes)
    inspections = join_inspections(read, None, find_period(read, day(-7), day(9), day(9)), "nps")
    yields = compute_yields(alerts, to_records(read.consignments, Consignment), inspections)
    feedback, sighting = draft_reports(yields, "XB", day(-7), day(9))
    assert isinstance(feedback, Feedback)
    assert (feedback.about_author, feedback.about) == ("XA", "S-1")
    assert (feedback.matched, feedback.inspected, feedback.known, feedback.found) == (3, 3, 2, 1)
    assert isinstance(sighting, Sighting)
    assert (sighting.seen, sighting.last_seen_on) == (3, "2024-03-07")
    for message in (feedback, sighting):
        check_message(message, day(9))
    local = next(each.counts for each in yields if each.alert_id == "LOCAL")
    assert (local.matched, local.seen) == (4, 0)
