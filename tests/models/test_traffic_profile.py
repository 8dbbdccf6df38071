"""The reference: counts that fit the features, or a refusal."""

import msgspec
import pytest

from consignments.errors import BundleRefused
from features.spec import Feature, Spec
from models.traffic_profile import ReferenceProfile, SourceActivity

SPEC = Spec([Feature("made.a", "count", "a", "A is {value}"), Feature("made.b", "flag", "b", "B holds")])


def reference(**changes: object) -> ReferenceProfile:
    whole = ReferenceProfile(
        first_day="2024-03-01",
        days=14,
        capacity=2,
        expected_precision=0.1,
        channels={"postal": 6},
        edges=[[1.0, 2.0], [0.5]],
        features={"postal": [[1, 2, 3, 0], [4, 1, 1]]},
        means={"postal": [1.5, None]},
        spreads={"postal": [0.5, None]},
        score_edges=[0.01],
        scores={"channel:postal": [5, 1]},
        mix={"office": {"Incheon": 6}},
        missing={"postal": {"hs_code": 2}},
        sizes={"channel:postal": {"pieces": [1.0, 1.0, 1.0, 2.0, 3.0]}},
        sources={"office": {"Incheon": SourceActivity(6, 1)}},
        usual={"1": {"made.a": [1.0, 1.5, 2.0]}},
    )
    return msgspec.structs.replace(whole, **changes)


def test_a_reference_keeps_its_numbers_as_json() -> None:
    whole = reference()
    whole.require_fit(SPEC, "reference.json")
    assert msgspec.json.decode(msgspec.json.encode(whole), type=ReferenceProfile) == whole


@pytest.mark.parametrize(
    "change",
    [
        {"edges": [[1.0, 2.0]]},
        {"features": {"postal": [[1, 2, 3, 0], [4, 1]]}},
        {"features": {"postal": [[1, 2, 3, 0]]}},
        {"means": {"postal": [1.5]}},
        {"scores": {"channel:postal": [6]}},
        {"usual": {"1": {"made.c": [1.0, 1.5, 2.0]}}},
    ],
    ids=[
        "a feature too few",
        "a bin too few",
        "counts too few",
        "a mean too few",
        "scores of other bins",
        "usual values of another feature",
    ],
)
def test_a_reference_that_does_not_fit_the_features_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BundleRefused, match="does not fit the features"):
        reference(**change).require_fit(SPEC, "reference.json")
