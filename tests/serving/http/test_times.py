"""Times at the ends of what a datetime can hold are refused with the field and the reason, whatever their zone."""

from typing import Any

import msgspec
import pytest
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import Client

FIRST, LAST = "0001-01-01T03:00:00+03:05", "9999-12-31T23:30:00-03:05"
"""The first is before the year 1 in UTC, the last after the year 9999."""
OUTCOME = msgspec.to_builtins(make_outcome("RB1"))
MISSED = OUTCOME | {"status": "missed", "result": None, "known_at": None, "inspected_at": None}
CONSIGNMENT = msgspec.to_builtins(make_consignment("RB1"))
ALERT = {"alert_id": "A1", "issued_at": day(0).isoformat(), "description_pattern": "chalk"}
CASES = [
    ("/v1/scores", CONSIGNMENT, ("received_at", "issued_at", "cancelled_at")),
    ("/v1/outcomes", OUTCOME, ("selected_at", "known_at")),
    ("/v1/outcomes", MISSED, ("inspected_at", "selected_at")),
    ("/v1/alerts", ALERT, ("issued_at", "expires_at", "occurred_at")),
    ("/v1/cancellations", {"consignment_id": "RB1"}, ("cancelled_at",)),
    ("/v1/actions", {"consignment_id": "RB1", "action": "inspect"}, ("acted_at",)),
    ("/v1/events", {"consignment_id": "RB1", "state": "do_not_load", "issued_at": day(0).isoformat()}, ("issued_at",)),
    (
        "/v1/selections",
        {"office": "Incheon", "capacity": 1, "explore": 0.0, "from": day(0).isoformat(), "until": day(1).isoformat()},
        ("until",),
    ),
]  # fmt: skip


@pytest.mark.parametrize("time", [FIRST, LAST])
@pytest.mark.parametrize(
    ("path", "record", "field"), [(path, record, field) for path, record, fields in CASES for field in fields]
)
def test_a_time_beyond_the_calendar_is_refused(
    shared_client: Client, path: str, record: dict[str, Any], field: str, time: str
) -> None:
    answer = shared_client.post(path, {**record, field: time})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == f"#/{field}"
