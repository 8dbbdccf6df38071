"""Import: past tables are history of the log, in the order of history; doing it twice adds nothing."""

from pathlib import Path

import numpy as np
import pytest
from support.databases import database_in, stored_bytes
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import DATA_KEYS, publish, serving, settings_in

from consignments.errors import BadInput, ServiceFault
from consignments.records import Alert, Consignment, Outcome
from consignments.tables import build_frame, to_consignments
from features.batch import FeatureParameters, Tables
from features.config import FeatureConfig
from features.fitted import FittedParameters
from features.history.pseudonyms import Pseudonyms
from features.streams import FeatureInputs, InMemoryTable, compute_feature_matrix
from serving.encryption.vault import Vault
from serving.event_log.log import EventLog
from serving.event_log.verification import verify_chain
from serving.maintenance.import_past import ChunkReader, import_tables
from serving.process.state_directory import StateLock


def tables(consignments: list[Consignment], outcomes: list[Outcome] = [], alerts: list[Alert] = []) -> Tables:  # noqa: B006
    return Tables(
        build_frame(consignments, Consignment),
        build_frame(outcomes, Outcome) if outcomes else None,
        build_frame(alerts, Alert) if alerts else None,
    )


def take(folder: Path, given: Tables | FeatureInputs) -> dict[str, int]:
    return import_tables(lambda _: given, settings_in(folder))


def logged(folder: Path) -> list[tuple[str, str | None]]:
    log = EventLog.open(database_in(folder), Vault(DATA_KEYS))
    found = [(event.kind, event.consignment_id) for event in log.read_events()]
    assert verify_chain(log).broken_at is None
    log.close()
    return found


PAST = tables(
    [
        make_consignment("RB3", received_at=day(10)),
        make_consignment("RB1", received_at=day(0)),
        make_consignment("RB2", received_at=day(3), cancelled_at=day(5)),
        make_consignment("RB4", received_at=day(12)),
    ],
    [make_outcome("RB1", result="nps", known_at=day(10)), make_outcome("RB2", known_at=day(11))],
    [Alert("A1", day(4), sender_name="Orchid Trading"), Alert("A2", day(12), sender_name="Orchid Trading")],
)


def test_the_log_has_the_past_in_the_order_of_history(tmp_path: Path) -> None:
    counts = take(tmp_path, PAST)
    assert counts == {
        "consignments": 4, "outcomes": 2, "alerts": 2, "cancellations": 1, "known": 0, "refused": 0, "notices": 0
    }  # fmt: skip
    assert logged(tmp_path) == [
        ("arrival", "RB1"),
        ("arrival", "RB2"),
        ("alert", None),
        ("cancellation", "RB2"),
        ("outcome", "RB1"),
        ("arrival", "RB3"),
        ("outcome", "RB2"),
        ("alert", None),
        ("arrival", "RB4"),
    ]


def test_importing_again_adds_only_what_is_new(tmp_path: Path) -> None:
    take(tmp_path, PAST)
    counts = take(tmp_path, PAST)
    assert (counts["consignments"], counts["outcomes"], counts["alerts"], counts["known"]) == (0, 0, 0, 9)
    assert len(logged(tmp_path)) == 9
    counts = take(tmp_path, tables([make_consignment("RB1"), make_consignment("RB5")], [make_outcome("RB5")]))
    assert (counts["consignments"], counts["outcomes"], counts["known"]) == (1, 1, 1)


def test_the_service_sees_the_imported_past_as_a_batch_does(tmp_path: Path, bundle: Path) -> None:
    take(tmp_path, PAST)
    publish(tmp_path, bundle, "1")
    probe = make_consignment("RB9", received_at=day(14))
    with serving(settings_in(tmp_path)) as client:
        told = client.compute_features("RB9", received_at=day(14))
    whole = Tables(
        build_frame([*to_consignments(PAST.consignments, Consignment), probe], Consignment),
        PAST.outcomes,
        PAST.alerts,
    )
    keep = np.arange(5) == 4
    parameters = FeatureParameters(
        FeatureConfig(), FittedParameters.create_empty(), Pseudonyms(b"another key")
    )
    matrix = compute_feature_matrix(whole, parameters, keep=keep)
    here = np.array([np.nan if value is None else value for value in told.values()], dtype=np.float32)
    np.testing.assert_array_equal(here, matrix.X[0])
    assert told["history.sender.arrivals_30d"] == 3
    assert told["alerts.matching"] == 2


def test_an_imported_consignment_that_is_announced_live_is_scored_and_counted_once(
    tmp_path: Path, bundle: Path
) -> None:
    take(tmp_path, tables([make_consignment("RB1")]))
    publish(tmp_path, bundle, "1")
    with serving(settings_in(tmp_path)) as client:
        first = client.compute_features("RB1")
        assert first["history.sender.arrivals_7d"] == 0
        assert client.compute_features("RB2")["history.sender.arrivals_7d"] == 1
        imported = client.get("/v1/consignments/RB1").json()["imported"]
        assert imported == ["2024-03-04T09:00:00Z"]


def test_what_the_service_decided_is_not_imported_again(tmp_path: Path, bundle: Path) -> None:
    publish(tmp_path, bundle, "1")
    with serving(settings_in(tmp_path)) as client:
        client.score("RB1")
    assert take(tmp_path, tables([make_consignment("RB1")]))["known"] == 1


def test_a_newsletter_without_a_criterion_is_past_information_and_an_unusable_criterion_is_rejected(
    tmp_path: Path, bundle: Path
) -> None:
    alerts = [
        Alert("A1", day(4), sender_name="Orchid Trading"),
        Alert("N1", day(5), text="newsletter: cathinone as cosmetic"),
        Alert("A2", day(6), text="everything", description_pattern="*"),
    ]
    counts = take(tmp_path, tables([make_consignment("RB1")], alerts=alerts))
    assert (counts["alerts"], counts["refused"], counts["notices"]) == (2, 1, 1)
    publish(tmp_path, bundle, "1")
    with serving(settings_in(tmp_path)) as client:
        assert client.compute_features("RB2", received_at=day(14))["alerts.matching"] == 1


def test_a_moment_in_the_future_is_refused_and_a_table_of_nothing_else_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    future = day(400_000)
    counts = take(tmp_path, tables([make_consignment("RB1", received_at=future), make_consignment("RB4")]))
    assert (counts["consignments"], counts["refused"]) == (1, 1)
    told = capsys.readouterr()
    assert "is in the future" in told.out + told.err
    given = tables(
        [make_consignment("RB1", received_at=future), make_consignment("RB2", received_at=future)],
        [make_outcome("RB3")],
    )
    with pytest.raises(BadInput, match="consignments: all rows were rejected; got 2 of 2 rows rejected"):
        take(tmp_path, given)
    assert logged(tmp_path) == [("arrival", "RB4"), ("outcome", "RB3")]


def test_a_table_with_a_sequence_is_taken_in_its_order(tmp_path: Path) -> None:
    given = tables([make_consignment("RB1", received_at=day(5)), make_consignment("RB2", received_at=day(1))])
    given.consignments["sequence"] = [1, 2]
    take(tmp_path, given)
    assert [name for _, name in logged(tmp_path)] == ["RB1", "RB2"]


def test_no_personal_value_of_the_past_can_be_read(tmp_path: Path) -> None:
    take(tmp_path, tables([make_consignment("RB1", sender_name="Quixotic Ltd")]))
    written = stored_bytes(tmp_path)
    assert b"uixotic" not in written


def test_while_the_service_runs_nothing_is_imported(tmp_path: Path) -> None:
    with StateLock(tmp_path), pytest.raises(ServiceFault, match="another process"):
        take(tmp_path, PAST)


def test_the_columns_of_the_published_model_are_imported(tmp_path: Path, column_bundle: Path) -> None:
    publish(tmp_path, column_bundle, "1")
    asked: list[type[Consignment]] = []

    def read(record: type[Consignment]) -> Tables:
        asked.append(record)
        return tables([make_consignment("RB1")])

    import_tables(read, settings_in(tmp_path))
    assert "tax_rate" in asked[0].__struct_fields__


def test_a_table_in_chunks_gives_the_entries_of_the_whole_table_and_lets_its_chunks_go(
    tmp_path: Path,
) -> None:
    many = [
        make_consignment(f"RB{number}", received_at=day(number / 10 + (0.35 if number % 3 else 0)))
        for number in range(60)
    ]
    given = tables(many, [make_outcome("RB7", result="nps", known_at=day(3))])
    take(tmp_path / "whole", given)
    source = InMemoryTable(given.consignments, piece_rows=7)
    take(tmp_path / "chunks", FeatureInputs(source, outcomes=given.outcomes))
    assert logged(tmp_path / "chunks") == logged(tmp_path / "whole")
    reader = ChunkReader(source, Consignment)
    order = np.argsort(given.consignments["received_at"].to_numpy(), kind="stable")
    for begin in range(0, len(order), 5):
        rows = order[begin : begin + 5]
        assert [each.consignment_id for each in reader.read(rows)] == [f"RB{row}" for row in rows]
        assert len(reader._waiting) <= 4
    assert not reader._waiting
