"""Yields for feedback to partners: from tables, or from the log of a service."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from cli.stores import open_log, open_vault, read_settings
from consignments.records import Alert, Consignment, Target
from consignments.timestamps import to_datetime

if TYPE_CHECKING:
    from features.batch import Tables
    from features.indicators.operation_keys import OperationKeys
    from operation.inspections import AlertYield

REPORTED_DAYS = 90
"""Days after its end for which an alert is still reported from a log, because results come late (assumed)."""


class ReportedYields(NamedTuple):
    """Yields to report, and the begin of their period; None if nothing was received."""

    yields: "list[AlertYield]"
    begins: datetime | None


def count_table_yields(
    tables: "Tables", begins: datetime | None, now: datetime, target: Target
) -> ReportedYields:
    """Count the yields of the alerts of tables, of consignments received before `now`."""
    from consignments.tables import to_alerts, to_consignments
    from operation.inspections import compute_yields, find_period, join_inspections

    period = find_period(tables, begins, now, now)
    arrived = tables.consignments["received_at"]
    inside = tables.consignments[(arrived >= period.begins) & (arrived < now)]
    known: list[Alert] = [] if tables.alerts is None else to_alerts(tables.alerts)
    inspections = join_inspections(tables, None, period, target)
    yields = compute_yields(known, to_consignments(inside, Consignment), inspections)
    return ReportedYields(yields, period.begins)


def count_logged_yields(keys: "OperationKeys", begins: datetime | None, target: Target) -> ReportedYields:
    """Count the yields of the alerts of the service's log that ended at most `REPORTED_DAYS` before its last arrival.

    Raises
    ------
    BadSetting
        There is no log, or its keys are others.
    """
    from operation.inspections import build_yield
    from operation.yields import LoggedYields
    from serving.event_log.event_codec import EventCodec
    from serving.event_log.log_keys import check_vault

    url, vault = read_settings().database_url, open_vault()
    with open_log() as log:
        check_vault(log, vault)
    found = LoggedYields(url, lambda: EventCodec(vault, Consignment, ()), keys, target, begins).read()
    if found.first_us is None or found.last_us is None:
        return ReportedYields([], begins)
    ended = to_datetime(found.last_us) - timedelta(days=REPORTED_DAYS)
    current = [each for each in found.alerts.values() if each.expires_at is None or each.expires_at > ended]
    yields = [build_yield(alert, found.count(alert.alert_id)) for alert in current]
    return ReportedYields(yields, begins or to_datetime(found.first_us))
