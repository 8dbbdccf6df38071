"""Name invariance: how much a score changes if personal names are replaced by names from another language.

Data about the exact name stay as they were: its history, and alerts that contain it. Firms keep their names."""

import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files

import msgspec
import numpy as np

from consignments.records import Consignment
from features.batch import BATCH_KEY
from features.config import FeatureConfig
from features.fitted import FittedParameters
from features.history.pseudonyms import Pseudonyms
from features.normalization.names import normalize_name
from features.parties import classify_party, is_filler
from features.pipeline import Pipeline
from features.table import SIDES
from models.arrays import Floats, Ints, Row, Rows
from models.risk_model import RiskModel

NAMES: Mapping[str, list[str]] = tomllib.loads(
    files(__package__).joinpath("invented_names.toml").read_text(encoding="utf-8")
)
MAX_LOG_ODDS_CHANGE = 0.01  # limit of the change in log-odds for 95 % of the rows: one percent of the odds
ALL_LANGUAGES = "all"
MAX_CODED_SHARE = 0.5  # a column of names in which more values look like codes is a column of identifiers
COLUMNS = ("language", "rows", "moved", "move_mean", "move_95pct", "move_largest")


def swap_names(c: Consignment, names: Sequence[str], place: int, sides: Sequence[str] = SIDES) -> Consignment:
    """Replace the name of every person of a consignment; the same name on both sides stays the same."""
    given = {side: getattr(c, f"{side}_name") for side in sides}
    people = {side: name for side, name in given.items() if is_person(name)}
    order = {name: number for number, name in enumerate(dict.fromkeys(people.values()))}
    swapped = {f"{side}_name": names[(place + order[name]) % len(names)] for side, name in people.items()}
    return msgspec.structs.replace(c, **swapped) if swapped else c


def is_person(name: str | None) -> bool:
    """Check whether a name is a person's: not missing, not filler, not a firm's."""
    return name is not None and _is_given(name) and classify_party(name).business == 0.0


def _is_given(name: str) -> bool:
    return not is_filler(name) and normalize_name(name) != ""


def is_coded(name: str) -> bool:
    """Check whether a name is an identifier: each of its words contains a digit."""
    words = name.split()
    return bool(words) and all(any(letter.isdigit() for letter in word) for word in words)


def find_sides_with_names(records: Sequence[Consignment]) -> tuple[str, ...]:
    """Find the sides whose column holds names, and not coded identifiers, of which some have no digit by chance."""
    sides = []
    for side in SIDES:
        given = [name for c in records if (name := getattr(c, f"{side}_name")) and _is_given(name)]
        if given and sum(map(is_coded, given)) <= MAX_CODED_SHARE * len(given):
            sides.append(side)
    return tuple(sides)


def measure_name_swaps(
    records: Sequence[Consignment], X: Rows, model: RiskModel, config: FeatureConfig, fitted: FittedParameters
) -> list[Row]:
    """Measure how much replaced names change the score."""
    sides = find_sides_with_names(records)
    named = [any(is_person(getattr(c, f"{side}_name")) for side in sides) for c in records]
    places = np.flatnonzero(named).tolist()
    pipeline = Pipeline(config, fitted, Pseudonyms(BATCH_KEY))
    # History and alerts stay those of the scored rows.
    kept = [place for place, feature in enumerate(pipeline.spec) if feature.group == "alerts"]
    moves = {}
    for language, names in NAMES.items():
        changed, moved = X[places], np.empty(0)
        if places:
            swapped = [swap_names(records[place], names, place, sides) for place in places]
            pipeline.fill_rows(swapped, changed)
            changed[:, kept] = X[places][:, kept]
            moved = model.trees.predict_raw(changed) - model.trees.predict_raw(X[places])
        moves[language] = model.calibration.slope * np.abs(moved)
    together = {ALL_LANGUAGES: np.concatenate(list(moves.values()))}
    return [_build_row(language, move) for language, move in (together | moves).items()]


def find_worst_move(rows: Iterable[Row]) -> float:
    """Return the change that 95 % of the rows stay below, in the language with the largest; NaN if no row has a name of a person."""
    moves = [float(row["move_95pct"]) for row in rows if row["language"] != ALL_LANGUAGES and row["rows"]]
    return max(moves, default=math.nan)


def sample_evenly(rows: int, most: int) -> Ints:
    """Choose the positions of at most `most` rows, spread evenly."""
    return np.linspace(0, rows - 1, min(rows, most)).astype(np.int64)


def _build_row(language: str, move: Floats) -> Row:
    figures = [np.nan] * 4
    if len(move):
        figures = [(move > 0).mean(), move.mean(), np.quantile(move, 0.95), move.max()]
    return dict(zip(COLUMNS, (language, len(move), *map(float, figures)), strict=True))
