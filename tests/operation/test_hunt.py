"""Hunt: names what shares something with a new seizure, as it was known then and as it is known now."""

import numpy as np
import pandas as pd
import pytest
from support.examples import NOBODY, PHONE, day, make_consignment, make_late_versions, make_outcome
from support.table_examples import build_tables

from consignments.records import Alert, Consignment, Outcome
from features.batch import FeatureParameters, Tables
from features.streams import compute_feature_matrix
from operation.hunts.hunt import Hunt, HuntLimits, HuntRow
from operation.hunts.tables import ScoreRows, find_consignment_target, hunt_tables


def other(name: str, at: float, **changes) -> Consignment:
    return make_consignment(name, received_at=day(at), **(NOBODY | changes))


def make_tables(*outcomes: Outcome, alerts: list[Alert] | None = None) -> Tables:
    rows = [
        make_consignment("SEIZED", received_at=day(0), sender_phone=PHONE),
        other("OLD", -40, sender_phone=PHONE),
        other("PASSED", -5, sender_phone="0044 2079460018"),
        other("OPENED", -4, sender_phone=PHONE),
        other("STRANGER", -1),
        other("WAITING", 5, sender_phone=PHONE),
        other("WAITING TOO", 5.5),
        other("LATER", 9, sender_phone=PHONE),
    ]
    found = [make_outcome("SEIZED", result="nps", inspected_at=day(1), known_at=day(5.8)), *outcomes]
    return build_tables(rows, found, alerts)


CLEAR = make_outcome("OPENED", result="clear", inspected_at=day(-3), known_at=day(-2))
LIMITS = HuntLimits(day(6), days=30, in_hand_days=3)


def score_by(feature: str) -> ScoreRows:
    def score(tables: Tables, keep: np.ndarray, second: bool) -> np.ndarray:
        matrix = compute_feature_matrix(tables, FeatureParameters(), keep=keep, second=second)
        return np.nan_to_num(matrix.X[:, matrix.spec.get_column(feature)].astype(float))

    return score


score_by_detections = score_by("history.sender_phone.nps_365d")


def run(tables: Tables, limits: HuntLimits = LIMITS, **options) -> Hunt:
    return hunt_tables(tables, find_consignment_target(tables, "SEIZED", limits), limits, **options)


def frame(rows: list[HuntRow]) -> pd.DataFrame:
    return pd.DataFrame([row.to_plain() for row in rows])


def test_a_late_version_is_no_target_and_no_hit() -> None:
    target = make_late_versions("SEIZED", 0, sender_phone="+44 20 7946 0998")
    hit = make_late_versions("HIT", 5, sender_phone="+44 20 7946 0999")
    found = run(build_tables(target + hit))
    assert [row.consignment_id for row in found.hits] == ["HIT"]
    assert "sender_phone" in found.hits[0].shared


def test_scores_are_those_of_the_arrival_and_those_of_now() -> None:
    found = run(make_tables(CLEAR), score=score_by_detections)
    hits = frame(found.hits).set_index("consignment_id")
    assert hits.loc["WAITING", ["score_then", "score_now"]].tolist() == [0, 1]
    waiting = frame(found.in_hand).set_index("consignment_id")
    assert waiting["rank_now"].to_dict() == {"WAITING": 1, "WAITING TOO": 2}
    assert waiting["rank_then"].to_dict() == {"WAITING": 1, "WAITING TOO": 1}


def test_a_result_that_is_known_later_changes_nothing_and_a_withdrawn_one_lowers_the_score_again() -> None:
    limits = HuntLimits(day(5.7))
    found = run(make_tables(CLEAR), limits, score=score_by_detections)
    assert max(row.score_now for row in found.in_hand) == 0
    later = make_outcome("OPENED", result="nps", inspected_at=day(-3), known_at=day(8))
    assert run(make_tables(CLEAR, later), limits, score=score_by_detections).to_plain() == found.to_plain()
    corrected = make_outcome("SEIZED", result="clear", inspected_at=day(1), known_at=day(5.9))
    found = run(make_tables(CLEAR, corrected), score=score_by_detections)
    assert found.target.text == "SEIZED (clear)"
    assert max(row.score_now for row in found.in_hand) == 0


def make_log(tables: Tables) -> Tables:
    """Number the rows of both tables in the order of their times, as in the log of a service."""
    arrivals = tables.consignments.sort_values("received_at").reset_index(drop=True)
    times = pd.concat([arrivals["received_at"], tables.outcomes["known_at"]], ignore_index=True)
    ranks = times.rank(method="first").astype(int).to_numpy()
    outcomes = tables.outcomes.assign(sequence=ranks[len(arrivals) :])
    return Tables(arrivals.assign(sequence=ranks[: len(arrivals)]), outcomes)


@pytest.mark.parametrize("change", [lambda tables: tables, make_log], ids=["by time", "by sequence"])
def test_each_score_of_now_is_that_of_the_consignment_arriving_alone(change) -> None:
    rows = [
        make_consignment("SEIZED", received_at=day(0), sender_phone=PHONE),
        other("GONE", -9, sender_phone=PHONE),
        other("PASSED", -5, sender_phone=PHONE),
        *(other(f"W{each}", 3.5 + each / 10, sender_phone=PHONE) for each in range(3)),
        other("CANCELLED", 4, sender_phone=PHONE, cancelled_at=day(5)),
    ]
    shared = {"result": "nps", "inspected_at": day(1)}
    found = [make_outcome(name, known_at=day(at), **shared) for name, at in (("SEIZED", 2), ("PASSED", 5))]
    tables = change(build_tables(rows, found))
    arrivals = "history.sender_phone.arrivals_7d"
    for feature in (arrivals, "history.sender_phone.nps_365d"):
        score = score_by(feature)
        hits = frame(run(tables, score=score).hits).set_index("consignment_id")
        assert len(hits) == 6
        for name, now in hits["score_now"].items():
            copied = tables.consignments.copy()
            mine = copied["consignment_id"] == name
            copied.loc[mine, ["received_at", "cancelled_at"]] = [pd.Timestamp(LIMITS.as_of), pd.NaT]
            if "sequence" in copied:
                copied.loc[mine, "sequence"] = 1000
            alone = score(Tables(copied, tables.outcomes), mine.to_numpy(), False).item()
            assert now == alone, (feature, name)
        if feature == arrivals:
            waiting = hits.loc[[f"W{each}" for each in range(3)], "score_now"].tolist()
            assert waiting == [3, 3, 3], "the two others in hand, and SEIZED"
