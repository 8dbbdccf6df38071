"""Alerts of messages: they count from their receipt, and what was true before stays true."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examples import day

from consignments.exchange.alerts import build_alert_id, list_alert_changes
from consignments.exchange.documents import Seizure, Warning, Withdrawal, decode_message

TOKEN = "0123456789abcdef:phone/exact:" + "0" * 32


def warning(revision=1, **changes) -> Warning:
    fields = {"message_id": "W", "author": "XA", "issued_at": day(0), "expires_at": day(30), "hs_code": "29"}
    return Warning(**(fields | changes), revision=revision)


class Alerts(dict):
    def apply(self, message, at):
        changes = list_alert_changes(message, at, self.get, withdrawn=(), administration="XB")
        self.update((alert.alert_id, alert) for alert in changes)
        return len(changes)

    def list_active(self, at):
        return {name for name, each in self.items() if each.issued_at <= at < each.expires_at}


def withdrawal(**changes) -> Withdrawal:
    return Withdrawal(**({"message_id": "X", "author": "XA", "issued_at": day(1), "about": "W"} | changes))


def test_a_seizure_without_indicators_matches_nothing() -> None:
    fields = {
        "message_id": "S", "author": "XA", "issued_at": day(0), "expires_at": day(9), "case_reference": "1",
        "occurred_at": day(-1), "hs_code": "29",
    }  # fmt: skip
    assert Alerts().apply(Seizure(**fields), day(1)) == 0
    alerts = Alerts()
    alerts.apply(Seizure(**fields, indicators=(TOKEN,)), day(1))
    assert (alerts["XA/S"].hs_code, alerts["XA/S"].occurred_at) == (None, day(-1))


def test_only_its_author_withdraws_a_message() -> None:
    alerts = Alerts()
    alerts.apply(warning(), day(1))
    assert alerts.apply(withdrawal(author="XB"), day(2)) == 0
    assert alerts.apply(withdrawal(), day(2)) == 1
    assert alerts.list_active(day(2)) == set()
    assert alerts.apply(warning(), day(3)) == 0, "it stays withdrawn"


def test_a_higher_revision_replaces_the_lower_from_then_on() -> None:
    alerts = Alerts()
    alerts.apply(warning(), day(1))
    alerts.apply(warning(2, hs_code="2933"), day(3))
    assert alerts.apply(warning(), day(4)) == 0
    assert alerts.list_active(day(2)) == {"XA/W"}
    assert alerts.list_active(day(4)) == {build_alert_id("XA", "W", 2)}


@given(received=st.floats(0, 10), withdrawn=st.floats(0, 20), asked=st.floats(-5, 25))
def test_a_withdrawal_changes_nothing_before_it(received: float, withdrawn: float, asked: float) -> None:
    alerts = Alerts()
    alerts.apply(warning(), day(received))
    before = alerts.list_active(day(asked))
    alerts.apply(withdrawal(), day(max(withdrawn, received)))
    after = alerts.list_active(day(asked))
    if asked < max(withdrawn, received):
        assert after == before
    elif asked > received + 1e-6:
        assert after == set()


@pytest.mark.parametrize(
    ("field", "value"), [("message_id", "W-7"), ("author", "XA"), ("indicators", [TOKEN])]
)
def test_a_line_end_makes_no_second_name(field: str, value: str | list[str]) -> None:
    fields = {"kind": "warning", **msgspec.to_builtins(warning()), field: value}
    assert decode_message(msgspec.json.encode(fields))
    fields[field] = [f"{TOKEN}\n"] if isinstance(value, list) else f"{value}\n"
    with pytest.raises(msgspec.ValidationError):
        decode_message(msgspec.json.encode(fields))
