"""The readings of history have a name, a unit and a reason."""

from pathlib import Path

import pytest

from features.config import FeatureConfig, HistoryKeys
from features.history.keys import COMMON_KINDS, list_key_kinds
from features.history.readings import EITHER, READINGS, SIDE_READINGS, SIDES, build_history_features
from features.spec import Spec

CONFIG = FeatureConfig(history=HistoryKeys((("hs_code", "departure_country"),)))
SPEC = Spec(build_history_features(list_key_kinds(CONFIG)))


@pytest.mark.parametrize(
    ("name", "theme"),
    [
        ("sender.new", "parties"),
        ("sender.nps_rate", "finds"),
        ("sender.inspections_ever", "finds"),
        ("sender_side.nps_a_consignment", "finds"),
        ("sender_phone.counterparts", "links"),
        ("sender.counterparts", "parties"),
        ("pair.arrivals_30d", "links"),
        ("route.arrivals_7d", "route"),
        ("product.velocity", "goods"),
        ("hs_code+departure_country.velocity", "goods"),
    ],
)
def test_a_reading_belongs_to_the_theme_that_it_speaks_of(name: str, theme: str) -> None:
    assert SPEC.features[SPEC.get_column(f"history.{name}")].theme == theme


def test_the_names_of_readings_are_unique() -> None:
    assert len({reading.name for reading in READINGS}) == len(READINGS)


def test_the_page_explains_every_reading_and_every_kind() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "history.md").read_text()
    names = [reading.name for reading in (*READINGS, *SIDE_READINGS)]
    names += [kind.name for kind in COMMON_KINDS] + [
        f"history.{side}_side.READING" for side in (*SIDES, EITHER)
    ]
    assert [name for name in names if f"`{name}`" not in page] == []
