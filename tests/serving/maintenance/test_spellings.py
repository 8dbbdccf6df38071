"""A consignment that is amended in another spelling is one consignment: for the service, and for a batch of the same rows."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from support.examples import day, make_consignment
from support.serving_examples import publish, serving, settings_in

from consignments.records import Consignment
from consignments.tables import build_frame, check_frame
from features.batch import Tables
from features.streams import compute_feature_matrix

NAMES = ("057-51987552", "05751987552", "RB2")


@pytest.mark.quick
def test_a_batch_reads_what_the_service_reads(tmp_path: Path, bundle: Path) -> None:
    rows = [
        make_consignment(name, received_at=day(number + 3), pieces=number + 1.0)
        for number, name in enumerate(NAMES)
    ]
    publish(tmp_path, bundle, "1")
    answers = []
    with serving(settings_in(tmp_path)) as client:
        for row in rows:
            fields = msgspec.to_builtins(row)
            body = {name: value for name, value in fields.items() if value is not None}
            answers.append(client.post("/v1/scores?features=true", body).json()["features"])
    frame = check_frame(build_frame(rows, Consignment).assign(sequence=[1, 2, 3]), Consignment).frame
    matrix = compute_feature_matrix(Tables(frame, None))
    column = matrix.spec.get_column("history.sender.arrivals_7d")
    assert matrix.X[:, column].tolist() == [0.0, 0.0, 1.0]
    for place, name in enumerate(matrix.spec.names):
        if name.startswith("history."):
            read = [np.nan if each[name] is None else each[name] for each in answers]
            np.testing.assert_array_equal(matrix.X[:, place], np.array(read, dtype=np.float32), name)
