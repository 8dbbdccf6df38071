"""The readings of history have a name, a unit and a reason."""

from pathlib import Path

from features.config import FeatureConfig, HistoryKeys
from features.history.keys import COMMON_KINDS, list_key_kinds
from features.history.readings import EITHER, READINGS, SIDE_READINGS, SIDES, build_history_features
from features.spec import Spec

CONFIG = FeatureConfig(history=HistoryKeys((("hs_code", "departure_country"),)))
SPEC = Spec(build_history_features(list_key_kinds(CONFIG)))


def reason_of(name: str) -> str:
    return SPEC.features[SPEC.get_column(name)].reason


def test_readings_that_mean_the_same_share_a_reason() -> None:
    assert reason_of("history.sender.new") == reason_of("history.sender.days_since_first") == "sender_new"
    assert (
        reason_of("history.sender.nps_rate") == reason_of("history.sender.any_offence_ever") == "sender_finds"
    )
    assert reason_of("history.sender_side.nps_a_consignment") == "sender_finds"
    assert reason_of("history.route.arrivals_7d") == "route_volume"


def test_reason_codes_are_snake_case() -> None:
    assert all(feature.reason.isidentifier() and feature.reason.islower() for feature in SPEC)
    assert reason_of("history.hs_code+departure_country.velocity") == "hs_code_departure_country_surge"


def test_the_names_of_readings_are_unique() -> None:
    assert len({reading.name for reading in READINGS}) == len(READINGS)


def test_the_page_explains_every_reading_and_every_kind() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "history.md").read_text()
    names = [reading.name for reading in (*READINGS, *SIDE_READINGS)]
    names += [kind.name for kind in COMMON_KINDS] + [
        f"history.{side}_side.READING" for side in (*SIDES, EITHER)
    ]
    assert [name for name in names if f"`{name}`" not in page] == []
