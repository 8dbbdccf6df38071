"""What is usual: of keys and not of consignments, and among what is alike."""

import numpy as np

from features.spec import Feature, Spec
from models.reasons import usual

SPEC = Spec(
    [
        Feature("category.channel", "code", "route", fitted=True),
        Feature("category.departure_country", "code", "route", fitted=True),
        Feature("history.route.arrivals_30d", "count", "route"),
        Feature("value.usd", "USD", "value", fitted=True),
    ]
)


def make_rows() -> np.ndarray:
    """Make a month of one route with 99 consignments and of thirty routes with one, all from one country, and few from another."""
    busy = [[1, 1, n, 20] for n in range(99)]
    quiet = [[1, 1, 0, 50]] * 30
    rare = [[1, 2, 7, 10]] * (usual.MIN_ROWS - 1)
    return np.array(busy + quiet + rare, dtype=np.float32)


def test_a_route_counts_once_however_much_it_carries() -> None:
    learnt = usual.compute_usual(SPEC, make_rows())
    assert learnt["1 category.departure_country 1"]["history.route.arrivals_30d"][1] == 0
    assert learnt["1"]["value.usd"] == [10, 20, 50]


def find(learnt: usual.UsualValues, at: int, row: list[float]) -> usual.Usual | None:
    feature, groups = SPEC.features[at], usual.list_groups(learnt, dict(zip(SPEC.names, row, strict=True)))
    return usual.find_usual(groups, feature.name, usual.find_like(feature) or ())


def test_a_small_group_has_the_usual_values_of_its_channel() -> None:
    learnt = usual.compute_usual(SPEC, make_rows())
    known, unknown = find(learnt, 2, [1, 1, 5, 20]), find(learnt, 2, [1, 2, 5, 20])
    assert (known.like, unknown.like) == ("category.departure_country", "category.channel")
    assert find(learnt, 3, [2, 1, 5, 20]) is None
    assert find({}, 3, [1, 1, 5, 20]) is None


def test_no_traffic_has_no_usual_values() -> None:
    assert usual.compute_usual(SPEC, make_rows()[:0]) == {}
