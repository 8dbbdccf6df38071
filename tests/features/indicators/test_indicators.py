"""Indicators: keyed hashes that match spelling variants, need the key, decay, and hold from their issue to their withdrawal."""

from datetime import timedelta
from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.described import describe_alerts
from support.examples import day, make_consignment
from support.link_examples import make_anonymous

from consignments.errors import BadInput, BadSetting
from consignments.records import Alert
from features.alerts.alerts import HALF_LIFE_DAYS, Alerts
from features.indicators.operation_keys import OperationKey, OperationKeys
from features.indicators.values import compute_indicators

KEY = OperationKey("EXAMPLE", bytes(range(32)))
KEYS = OperationKeys([KEY])
SEIZED = make_consignment(consignment_id="SEIZED")


def seizure(alert_id="S1", issued_at=None, key=KEY, sides=("sender", "consignee"), **changes):
    indicators = compute_indicators(SEIZED, key, sides)
    return Alert(alert_id, issued_at or day(-2), author="partner", indicators=indicators, **changes)


def count_matches(alerts, c, sequence=None):
    found = describe_alerts(alerts, c, sequence)
    return found["sender_indicators"] + found["consignee_indicators"]


def matches(alerts, sequence=None, **changes):
    return count_matches(alerts, make_consignment(**changes), sequence)


def test_both_parties_of_a_seizure_match_by_each_of_their_identifiers() -> None:
    found = describe_alerts(Alerts([seizure(occurred_at=day(-12))], keys=KEYS), make_consignment())
    assert found["sender_indicators"] >= 3
    assert found["consignee_indicators"] >= 3
    assert found["days_since_sender_indicator"] == found["days_since_consignee_indicator"] == 12
    assert found["matching"] == 0
    assert isnan(found["days_since_issued"])


@pytest.mark.parametrize(
    "written",
    [
        {"sender_name": "orchid trading limited"},
        {"consignee_name": "KIM MINSU"},
        {"consignee_address": "101-1203, 45 Teheran ro"},
        {"sender_phone": "0044 20 7946 0018"},
    ],
)
def test_another_spelling_of_one_identifier_still_matches(written: dict[str, str]) -> None:
    assert count_matches(Alerts([seizure()], keys=KEYS), make_anonymous("A", **written)) == 1


def test_two_operations_match_nothing_of_each_other() -> None:
    for other in (OperationKey("EXAMPLE", bytes(32)), OperationKey("OTHER", bytes(range(32)))):
        assert set(compute_indicators(SEIZED, other)).isdisjoint(compute_indicators(SEIZED, KEY))
    alerts = Alerts([seizure(key=OperationKey("EXAMPLE", bytes(32)))], keys=KEYS)
    assert matches(alerts) == 0


def test_a_sender_of_a_seizure_matches_as_consignee() -> None:
    alerts = Alerts([seizure(sides=("sender",))], keys=KEYS)
    found = describe_alerts(alerts, make_consignment(sender_phone=None, consignee_phone=SEIZED.sender_phone))
    assert found["consignee_indicators"] == 1


def test_a_match_counts_half_after_the_half_life() -> None:
    old, new = (Alerts([seizure(occurred_at=day(-age))], keys=KEYS) for age in (HALF_LIFE_DAYS, 0))
    strengths = [describe_alerts(alerts, make_consignment())["indicator_strength"] for alerts in (old, new)]
    assert strengths[0] == pytest.approx(strengths[1] / 2)


def test_a_missing_key_is_warned_of_once_and_used_once_it_comes(caplog: pytest.LogCaptureFixture) -> None:
    keys = OperationKeys()
    alerts = Alerts([seizure("S1"), seizure("S2")], keys=keys)
    assert matches(alerts) == 0
    assert [KEY.key_id in record.getMessage() for record in caplog.records] == [True]
    keys.update([KEY])
    assert matches(alerts) > 0


@given(withdrawn=st.floats(-3, 3), arrives=st.floats(-3, 3))
def test_a_withdrawal_holds_from_then_on_and_not_before(withdrawn: float, arrives: float) -> None:
    end = max(day(withdrawn), day(-2) + timedelta(microseconds=1))
    alerts = Alerts([seizure()], keys=KEYS)
    alerts.add(seizure(expires_at=end))
    active = day(-2) <= day(arrives) < end
    assert (matches(alerts, received_at=day(arrives)) > 0) == active


@given(withdrawn=st.integers(2, 9), arrives=st.integers(1, 10))
def test_in_a_log_a_withdrawal_holds_from_its_entry_on(withdrawn: int, arrives: int) -> None:
    """Each entry comes an hour after the last one; an arrival just before or after the withdrawal shares its number here."""
    alerts = Alerts([seizure()], [0], keys=KEYS)
    before = matches(alerts, arrives, received_at=day(arrives / 24))
    alerts.add(seizure(expires_at=day(withdrawn / 24)), withdrawn)
    after = matches(alerts, arrives, received_at=day(arrives / 24))
    assert before > 0
    assert after == (before if arrives <= withdrawn else 0)


def test_a_key_file_can_be_read_by_its_owner_alone_and_is_never_replaced(tmp_path) -> None:
    path = tmp_path / "keys" / "example.operation"
    created = OperationKey.create(path, 'AN "EXAMPLE"', day(30))
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    read = OperationKeys.read_folder(path.parent).find('AN "EXAMPLE"', day(0))
    assert (read.key_id, read.until) == (created.key_id, day(30))
    assert read.compute("phone", "exact", "1") == created.compute("phone", "exact", "1")
    before = path.read_bytes()
    with pytest.raises(BadInput, match="there is a key already"):
        OperationKey.create(path, "EXAMPLE")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "text", ["", "operation = 1", 'operation = "A"\nsecret = "c2hvcnQ="', "\xff", "secret ="]
)
def test_a_damaged_key_file_is_refused_without_its_text(tmp_path, text: str) -> None:
    path = tmp_path / "x.operation"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(BadSetting, match="the file holds no operation key") as caught:
        OperationKey.read(path)
    assert "c2hvcnQ" not in str(caught.value)


def test_an_ended_operation_makes_no_indicators() -> None:
    keys = OperationKeys([OperationKey("OLD", bytes(32), day(0))])
    with pytest.raises(BadSetting, match="cannot be chosen"):
        keys.find(None, day(0))
