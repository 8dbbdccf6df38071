"""A version issued before the latest known is recorded and answered; it takes no place, live, after a restart, or in the tables."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from click.testing import CliRunner
from support.databases import state_environment
from support.examples import day, make_consignment
from support.serving_examples import Client, publish, serving, settings_in

from consignments.records import Consignment
from consignments.tables import build_frame, check_frame
from features.batch import Tables
from features.streams import compute_feature_matrix
from npsrisk import main


def post(client: Client, **changes: Any) -> dict[str, Any]:
    fields = msgspec.to_builtins(make_consignment(**changes))
    body = {name: value for name, value in fields.items() if value is not None}
    return client.send("/v1/scores?features=true", body)


FIRST = {"description": "socks", "issued_at": day(1), "received_at": day(3)}
SECOND = {"description": "shoes", "issued_at": day(2), "received_at": day(3)}
LATE = {"description": "boots", "issued_at": day(1), "received_at": day(4)}


def test_a_late_version_is_answered_and_does_not_take_its_place(tmp_path: Path, bundle: Path) -> None:
    publish(tmp_path, bundle, "1")
    settings = settings_in(tmp_path)
    with serving(settings) as client:
        post(client, **FIRST)
        standing = post(client, **SECOND)
        late = post(client, **LATE, sender_name="Another Sender")
        assert late["decision_id"] != standing["decision_id"]
        assert post(client, **SECOND)["decision_id"] == standing["decision_id"]
    with serving(settings) as client:  # rebuilt from the log
        assert post(client, **SECOND)["decision_id"] == standing["decision_id"]
        told = post(client, consignment_id="RB2", received_at=day(5))
        assert told["features"]["history.sender.arrivals_7d"] == 1
        other = post(client, consignment_id="RB3", sender_name="Another Sender", received_at=day(5))
        assert other["features"]["history.sender.arrivals_7d"] == 0
        newest = post(client, description="hats", issued_at=day(3), received_at=day(5))
        assert newest["decision_id"] != standing["decision_id"]
    done = CliRunner().invoke(main, ["parity", "--json"], env=state_environment(tmp_path))
    assert done.exit_code == 0, done.output


def test_the_same_content_issued_again_is_a_repeat(tmp_path: Path, bundle: Path) -> None:
    publish(tmp_path, bundle, "1")
    with serving(settings_in(tmp_path)) as client:
        first = post(client, **FIRST)
        assert post(client, **FIRST | {"issued_at": day(2)})["decision_id"] == first["decision_id"]


def test_the_time_of_issue_is_kept_in_the_log(tmp_path: Path, bundle: Path) -> None:
    publish(tmp_path, bundle, "1")
    with serving(settings_in(tmp_path)) as client:
        post(client, **FIRST)
        event = client.service.log.read_event(1)
        assert client.service.active.get_scorer().model.entries.decode_consignment(event).issued_at == day(1)


def test_tables_give_the_features_of_the_service(tmp_path: Path, bundle: Path) -> None:
    versions = [FIRST, SECOND, LATE | {"sender_name": "Another Sender"}]
    rows = [make_consignment(**each) for each in versions]
    rows.append(make_consignment(consignment_id="RB2", received_at=day(5)))
    rows.append(make_consignment(consignment_id="RB3", sender_name="Another Sender", received_at=day(5)))
    frame = check_frame(build_frame(rows, Consignment), Consignment).frame
    matrix = compute_feature_matrix(Tables(frame, None))
    column = matrix.spec.get_column("history.sender.arrivals_7d")
    assert matrix.X[:, column].tolist()[-2:] == [1.0, 0.0]
    assert np.isfinite(matrix.X[2, column])
