"""The readings of history have a name, a unit and a reason."""

from pathlib import Path

from features.history.keys import COMMON_KINDS
from features.history.readings import EITHER, READINGS, SIDE_READINGS
from features.table import SIDES


def test_the_page_explains_every_reading_and_every_kind() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "history.md").read_text()
    names = [reading.name for reading in (*READINGS, *SIDE_READINGS)]
    names += [kind.name for kind in COMMON_KINDS]
    names += [f"history.{side}_side.READING" for side in (*SIDES, EITHER)]
    assert [name for name in names if f"`{name}`" not in page] == []
