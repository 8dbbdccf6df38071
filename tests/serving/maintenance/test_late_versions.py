"""Late versions and other spellings are one consignment: for the service, live and after a restart, and for a batch of the same rows."""

import numpy as np
import pytest
from support.examples import day, make_consignment
from support.site import Site

from consignments.records import Consignment
from consignments.tables import read_table
from features.batch import Tables
from features.streams import compute_feature_matrix

ARRIVED = "history.sender.arrivals_7d"
FIRST = {"description": "socks", "issued_at": day(1), "received_at": day(3)}
SECOND = {"description": "shoes", "issued_at": day(2), "received_at": day(3)}
LATE = {"description": "boots", "issued_at": day(1), "received_at": day(4), "sender_name": "Another Sender"}


def test_a_late_version_is_answered_and_does_not_take_its_place(site: Site) -> None:
    with site.serve() as client:
        first = client.score("RB1", **FIRST)
        assert client.score("RB1", **FIRST | {"issued_at": day(1.5)}) == first | {"repeated": True}
        standing, late = client.score("RB1", **SECOND), client.score("RB1", **LATE)
        assert late["decision_id"] != standing["decision_id"]
        assert client.score("RB1", **LATE) == late | {"repeated": True}
        assert client.score("RB1", **SECOND)["decision_id"] == standing["decision_id"]
    with site.serve() as client:  # rebuilt from the log
        answers = [client.score("RB1", **each)["decision_id"] for each in (SECOND, LATE)]
        assert answers == [standing["decision_id"], late["decision_id"]]
        assert client.compute_features("RB2", received_at=day(5))[ARRIVED] == 1
        assert client.compute_features("RB3", sender_name="Another Sender", received_at=day(5))[ARRIVED] == 0
        newest = client.score("RB1", description="hats", issued_at=day(3), received_at=day(5))
        assert newest["decision_id"] != standing["decision_id"]
    assert site.told("parity")["equal"]


SPELLINGS = ("057-51987552", "05751987552", "RB2")
WORLDS: dict[str, list[Consignment]] = {
    "a late version": [
        *(make_consignment("RB1", **each) for each in (FIRST, SECOND, LATE)),
        make_consignment("RB2", received_at=day(5)),
        make_consignment("RB3", sender_name="Another Sender", received_at=day(5)),
    ],
    "another spelling": [
        make_consignment(name, received_at=day(place + 3), pieces=place + 1.0)
        for place, name in enumerate(SPELLINGS)
    ],
}
ARRIVALS = {"a late version": [0, 0, 0, 1, 0], "another spelling": [0, 0, 1]}


@pytest.mark.quick
@pytest.mark.parametrize("world", WORLDS)
def test_a_batch_reads_what_the_service_reads(site: Site, world: str) -> None:
    rows = WORLDS[world]
    with site.serve() as client:
        answers = [client.send("/v1/scores?features=true", row)["features"] for row in rows]
    site.told("export", "--personal", "--out", str(site.folder / "tables"))
    table = read_table(site.folder / "tables" / "consignments.parquet", Consignment, strict=True)
    matrix = compute_feature_matrix(Tables(table.frame))
    assert matrix.X[:, matrix.spec.get_column(ARRIVED)].tolist() == ARRIVALS[world]
    for place, name in enumerate(matrix.spec.names):
        if name.startswith("history."):
            read = np.array([each[name] for each in answers], dtype=np.float32)
            np.testing.assert_array_equal(matrix.X[:, place], read, name)
