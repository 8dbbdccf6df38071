"""Drafts: facts in clear, parties as hashes; and yields that add up."""

import pytest
from support.examples import day, make_consignment, make_late_versions, make_outcome

from consignments.exchange.documents import Feedback, Sighting, check_message, encode_message
from consignments.records import Alert, Consignment, Outcome
from consignments.tables import build_frame, to_consignments
from features.batch import Tables
from features.indicators.operation_keys import OperationKey, OperationKeys, install_keys
from features.indicators.values import compute_indicators
from operation.exchange.drafts import (
    MAX_SHARING,
    ConfirmedSeizure,
    DraftOptions,
    draft_seizure,
    draft_warning,
    find_common_indicators,
)
from operation.exchange.reports import draft_reports, list_confirmed
from operation.inspections import compute_yields, find_period, join_inspections

KEY = OperationKey("EXAMPLE", bytes(32))
OPTIONS = DraftOptions("XB", day(20), KEY)
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


def tables(consignments: list[Consignment], outcomes: list[Outcome]) -> Tables:
    return Tables(build_frame(consignments, Consignment), build_frame(outcomes, Outcome))


def test_a_seizure_has_its_facts_and_no_personal_data() -> None:
    message = draft_seizure(ConfirmedSeizure(SEIZED, FOUND), OPTIONS, "1")
    check_message(message, day(20))
    assert (message.substance, message.quantity_g, message.hs_code) == ("3-CMC", 1250.0, "610910")
    assert message.indicators == compute_indicators(SEIZED, KEY)
    text = encode_message(message).decode()
    for word in ("Orchid", "Harbour", "Kim", "Teheran", "7946", "SEIZED"):
        assert word not in text


def test_a_seizure_states_the_version_that_counts() -> None:
    both = make_late_versions("SEIZED", 0, description="powder")
    (confirmed,) = list_confirmed(tables(both, [FOUND]), day(20), "nps")
    assert confirmed.consignment.description == "cotton t-shirts"


def test_an_identifier_that_many_share_is_not_sent() -> None:
    crowd = [
        make_consignment(f"C{number}", sender_name=f"Shop {number}", sender_phone=None, consignee_name=None,
                         consignee_address=f"{number} Teheran-ro", consignee_phone=None)
        for number in range(MAX_SHARING + 1)
    ]  # fmt: skip
    found = ConfirmedSeizure(SEIZED, FOUND)
    common = find_common_indicators(crowd, [found], KEY)
    assert {token.split(":")[1] for token in common} == {
        "address/exact",
        "address/premises",
        "address/street",
    }
    sent = draft_seizure(found, OPTIONS._replace(common=common), "1").indicators
    assert set(sent) == set(compute_indicators(SEIZED, KEY)) - common
    assert find_common_indicators(crowd[1:], [found], KEY) == frozenset()


def test_a_warning_tells_what_was_seized_and_where_it_came_from() -> None:
    warning = draft_warning(draft_seizure(ConfirmedSeizure(SEIZED, FOUND), OPTIONS, "1"))
    assert warning is not None
    check_message(warning, day(20))
    assert warning.text == (
        "1.25 kg of 3-CMC, from GB, declared as cotton t-shirts, concealed in double wall, seized on 2024-03-05"
    )
    assert (warning.departure_country, warning.cover, warning.indicators) == ("GB", "cotton t-shirts", ())


def test_only_what_stands_at_the_time_is_confirmed() -> None:
    corrected = make_outcome("SEIZED", result="clear", inspected_at=day(1), known_at=day(15))
    known = tables([SEIZED], [FOUND, corrected])
    listed = [len(list_confirmed(known, day(at), "nps")) for at in (9, 12, 16)]
    assert listed == [0, 1, 0]


def test_the_reports_of_a_partner_s_message_are_a_hand_count() -> None:
    alert = Alert("XA/S-1", day(-5), author="XA", indicators=compute_indicators(make_consignment(), KEY))
    own = Alert("XB/S-2", day(-5), author="XB", indicators=alert.indicators)
    local = Alert("LOCAL", day(-5), hs_code="61")
    nobody = dict.fromkeys(
        [f"{side}_{part}" for side in ("sender", "consignee") for part in ("name", "address", "phone")]
    )
    rows = [
        make_consignment("A", received_at=day(0)),
        make_consignment("B", received_at=day(1)),
        make_consignment("C", received_at=day(2), **nobody),
        make_consignment("D", received_at=day(-6)),
        make_consignment("E", received_at=day(3)),
    ]
    outcomes = [
        make_outcome("A", result="nps", selected_at=day(0.5), inspected_at=day(1), known_at=day(4)),
        make_outcome("B", result="clear", selected_at=day(1.5), inspected_at=day(2), known_at=day(4)),
        make_outcome("C", result="nps", selected_at=day(2.5), inspected_at=day(3), known_at=day(4)),
        make_outcome("E", result="pending", selected_at=day(3.5), inspected_at=day(4), known_at=None),
    ]
    read = tables(rows, outcomes)
    period = find_period(read, day(-7), day(9), day(9))
    yields = compute_yields(
        [alert, own, local],
        to_consignments(read.consignments, Consignment),
        join_inspections(read, None, period, "nps"),
    )
    feedback, sighting = draft_reports(yields, "XB", day(-7), day(9))
    assert isinstance(feedback, Feedback)
    assert (feedback.about_author, feedback.about) == ("XA", "S-1")
    assert (feedback.matched, feedback.inspected, feedback.known, feedback.found) == (3, 3, 2, 1)
    assert isinstance(sighting, Sighting)
    assert (sighting.seen, sighting.last_seen_on) == (3, "2024-03-07")
    for message in (feedback, sighting):
        check_message(message, day(9))
    by_alert = {each.alert_id: each.counts for each in yields}
    assert (by_alert["LOCAL"].matched, by_alert["LOCAL"].seen) == (4, 0)
