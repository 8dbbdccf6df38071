"""Import: past tables are history of the log, in the order of history; doing it twice adds nothing."""

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.databases import stored_bytes
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import serving, settings_in
from support.site import Site, entries, run
from support.table_examples import build_tables

from consignments.errors import BadInput, ServiceFault
from consignments.records import Alert, Consignment
from consignments.tables import build_frame, to_records
from consignments.timestamps import to_us
from features.batch import FeatureParameters, Tables
from features.config import FeatureConfig
from features.fitted import FittedParameters
from features.history.pseudonyms import Pseudonyms
from features.streams import FeatureInputs, InMemoryTable, compute_feature_matrix
from serving.maintenance.import_past import import_tables
from serving.process.state_directory import lock_state


def take(folder: Path, given: Tables | FeatureInputs) -> dict[str, int]:
    inputs = given if isinstance(given, FeatureInputs) else FeatureInputs.from_tables(given)
    return import_tables(lambda _: inputs, settings_in(folder))


def list_names(folder: Path) -> list[tuple[str, str | None]]:
    return [(event.kind, event.consignment_id) for event in entries(folder)]


PAST = build_tables(
    [
        make_consignment("RB3", received_at=day(10)),
        make_consignment("RB1", received_at=day(0)),
        make_consignment("RB2", received_at=day(3), cancelled_at=day(5)),
        make_consignment("RB4", received_at=day(12)),
    ],
    [make_outcome("RB1", result="nps", known_at=day(10)), make_outcome("RB2", known_at=day(11))],
    [Alert("A1", day(4), sender_name="Orchid Trading"), Alert("A2", day(12), sender_name="Orchid Trading")],
)


def test_the_log_has_the_past_in_the_order_of_history_or_of_its_sequence(tmp_path: Path) -> None:
    folder, told = tmp_path / "state", f"another process uses this state directory; got process {os.getpid()}"
    with lock_state(folder), pytest.raises(ServiceFault, match=told):
        take(folder, PAST)
    assert folder.stat().st_mode & 0o077 == 0
    counts = take(folder, PAST)
    assert counts == {
        "consignments": 4, "outcomes": 2, "alerts": 2, "cancellations": 1, "known": 0, "refused": 0, "notices": 0
    }  # fmt: skip
    assert list_names(folder) == [
        ("arrival", "RB1"), ("arrival", "RB2"), ("alert", None), ("cancellation", "RB2"), ("outcome", "RB1"),
        ("arrival", "RB3"), ("outcome", "RB2"), ("alert", None), ("arrival", "RB4"),
    ]  # fmt: skip
    rows = [make_consignment("RB1", received_at=day(5), cancelled_at=day(6))]
    rows.append(make_consignment("RB2", received_at=day(1)))
    given = build_tables(rows, alerts=[Alert("A1", day(14), sender_name="Orchid Trading")])
    given.consignments["sequence"], given.alerts["sequence"] = [1, 4], [2]  # type: ignore[index]
    given.consignments["cancelled_sequence"] = pd.array([3, None], dtype="Int64")
    take(tmp_path / "numbered", given)
    assert list_names(tmp_path / "numbered") == [
        ("arrival", "RB1"), ("alert", None), ("cancellation", "RB1"), ("arrival", "RB2"),
    ]  # fmt: skip


def test_importing_again_adds_only_what_is_new_and_not_what_the_service_decided(site: Site) -> None:
    take(site.folder, PAST)
    with site.serve() as client:
        client.score("RB8")
    counts = take(site.folder, PAST)
    assert [counts[name] for name in ("consignments", "outcomes", "alerts", "known")] == [0, 0, 0, 9]
    assert len(site.entries()) == 10
    more = build_tables([make_consignment(f"RB{number}") for number in (1, 5, 8)], [make_outcome("RB5")])
    counts = take(site.folder, more)
    assert [counts[name] for name in ("consignments", "outcomes", "known")] == [1, 1, 2]


def test_the_service_sees_the_imported_past_as_a_batch_does_and_nobody_can_read_it(site: Site) -> None:
    take(site.folder, PAST)
    assert b"Orchid" not in stored_bytes(site.folder)
    with site.serve() as client:
        told = client.compute_features("RB9", received_at=day(14))
    rows = [*to_records(PAST.consignments, Consignment), make_consignment("RB9", received_at=day(14))]
    whole = Tables(build_frame(rows, Consignment), PAST.outcomes, PAST.alerts)
    nothing = FittedParameters.create_empty()
    parameters = FeatureParameters(FeatureConfig(), nothing, Pseudonyms(b"another key"))
    matrix = compute_feature_matrix(whole, parameters, keep=np.arange(5) == 4)
    here = np.array([np.nan if value is None else value for value in told.values()], dtype=np.float32)
    np.testing.assert_array_equal(here, matrix.X[0])
    assert told["history.sender.arrivals_30d"] == 3
    assert told["alerts.matching"] == 2


def test_alerts_are_past_information_and_one_that_is_announced_live_counts_once(site: Site) -> None:
    alerts = [
        Alert("A1", day(4), sender_name="Orchid Trading"),
        Alert("N1", day(5), text="newsletter: cathinone as cosmetic"),
        Alert("A2", day(6), text="everything", description_pattern="*"),
    ]
    counts = take(site.folder, build_tables([make_consignment("RB1", received_at=day(10))], alerts=alerts))
    assert (counts["alerts"], counts["refused"], counts["notices"]) == (2, 1, 1)
    with site.serve() as client:
        first, second = (client.compute_features(name, received_at=day(10)) for name in ("RB1", "RB2"))
        assert [each["history.sender.arrivals_7d"] for each in (first, second)] == [0, 1]
        assert second["alerts.matching"] == 1
        assert client.read("/v1/consignments/RB1")["imported"] == ["2024-03-14T09:00:00Z"]


def test_a_moment_in_the_future_is_refused_and_a_table_of_nothing_else_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    future = [make_consignment(f"RB{number}", received_at=day(400_000)) for number in range(5, 17)]
    counts = take(tmp_path, build_tables([future[0], make_consignment("RB4")]))
    assert (counts["consignments"], counts["refused"]) == (1, 1)
    assert "is in the future" in "".join(capsys.readouterr())
    with pytest.raises(BadInput, match="consignments: all rows were rejected; got 12 of 12 rows rejected"):
        take(tmp_path, build_tables(future, [make_outcome("RB3")]))
    assert re.search("further rows rejected +rows=2", "".join(capsys.readouterr()))
    assert list_names(tmp_path) == [("arrival", "RB4"), ("outcome", "RB3")]


def test_a_table_in_chunks_gives_the_entries_of_the_whole_one(tmp_path: Path) -> None:
    moments = [day(number / 10 + (0.35 if number % 3 else 0)) for number in range(60)]
    many = [make_consignment(f"RB{number}", received_at=moment) for number, moment in enumerate(moments)]
    given = build_tables(many, [make_outcome("RB7", result="nps", known_at=day(3))])
    take(tmp_path / "whole", given)
    source = InMemoryTable(given.consignments, piece_rows=7)
    take(tmp_path / "chunks", FeatureInputs(source, outcomes=given.outcomes))
    assert list_names(tmp_path / "chunks") == list_names(tmp_path / "whole")


EXPORTED = Path(__file__).resolve().parents[2] / "data" / "export_of_049ba582"
"""An export by an earlier version of a log of four decisions about three consignments of one sender (one amended and
cancelled), an outcome and an alert."""


def test_history_goes_on_where_an_earlier_version_stopped_through_its_tables(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    given = [f"--{name}={EXPORTED / name}.parquet" for name in ("consignments", "outcomes", "alerts")]
    for added in ("4 consignments, 1 outcomes, 1 alerts, 1 cancellations, 0 known", "0 consignments"):
        code, output = run(tmp_path, "import", *given)
        assert (code, added in output) == (0, True), output
    with serving(settings, lambda: to_us(datetime(2026, 11, 27, tzinfo=UTC))) as client:
        c = {"consignment_id": "RB000000004DE", "channel": "postal", "sender_name": "Orchid Trading"}
        features = client.send("/v1/scores?features=true", c)["features"]
        assert features["history.sender.arrivals_30d"] == 2  # the third was cancelled
        assert features["history.sender.nps_ever"] == 1
    assert entries(tmp_path)
