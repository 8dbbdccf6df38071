"""Claims about names swapped for those of another language."""

import numpy as np
import pytest
from support.examples import make_consignment

from features.batch import BATCH_KEY
from features.config import FeatureConfig
from features.fitted import FittedParameters
from features.history.pseudonyms import Pseudonyms
from features.pipeline import Pipeline
from models.calibration import Calibration
from training.evaluation.name_invariance import (
    COLUMNS,
    MAX_LOG_ODDS_CHANGE,
    NAMES,
    find_sides_with_names,
    find_worst_move,
    is_person,
    measure_name_swaps,
    swap_names,
)

CONFIG, FITTED = FeatureConfig(), FittedParameters.create_empty()
PIPELINE = Pipeline(CONFIG, FITTED, Pseudonyms(BATCH_KEY))


class Model:
    calibration = Calibration(2.0, 0.0, {})
    trees = property(lambda self: self)

    def __init__(self, feature):
        self._place = PIPELINE.spec.get_column(feature)

    def predict_raw(self, X):
        return np.nan_to_num(X[:, self._place].astype(np.float64))


WRITTEN = ("Kim Min-su", "KIM", "김민수", "Jo 2")
PEOPLE = [make_consignment(f"C{n}", consignee_name=name) for n, name in enumerate(WRITTEN)]
CODES = ("0VKY2BR", "QLRUBN9", "QLRUBNX", "7711-A2")


def measured(feature, records=PEOPLE):
    X = np.zeros((len(records), len(PIPELINE.spec)), dtype=np.float32)
    PIPELINE.fill_rows(records, X)
    X[:, PIPELINE.history_at :] = 7.0
    return measure_name_swaps(records, X, Model(feature), CONFIG, FITTED)


def test_a_score_that_reads_no_name_does_not_move():
    rows = measured("value.declared")
    assert {tuple(row) for row in rows} == {COLUMNS}
    assert [row["language"] for row in rows] == ["all", *NAMES]
    assert find_worst_move(rows) == rows[0]["move_largest"] == 0.0
    assert rows[0]["rows"] == len(PEOPLE) * len(NAMES)


def test_a_score_that_reads_something_of_a_name_moves_by_what_it_reads():
    rows = measured("parties.consignee_name_digits")
    assert rows[0]["moved"] == pytest.approx(1 / len(PEOPLE))
    assert rows[0]["move_largest"] == pytest.approx(2.0)
    assert find_worst_move(rows) > MAX_LOG_ODDS_CHANGE


def test_coded_identifiers_in_place_of_names_are_not_replaced():
    codes = [make_consignment(f"C{n}", sender_name=None, consignee_name=name) for n, name in enumerate(CODES)]
    rows = measured("parties.consignee_name_digits", codes)
    assert rows[0]["rows"] == 0, "one of them has no digit by chance, and the column decides"
    assert np.isnan(find_worst_move(rows))


def test_a_code_among_names_does_not_make_a_column_of_codes():
    given = [*PEOPLE, make_consignment("C9", consignee_name="0VKY2BR")]
    assert find_sides_with_names(given) == ("sender", "consignee")
    assert measured("parties.consignee_name_digits", given)[0]["rows"] == len(given) * len(NAMES)


def test_names_on_one_side_are_replaced_although_the_other_side_holds_codes():
    name = {"consignee_name": "Emma Taylor"}
    given = [make_consignment(f"C{n}", sender_name=code, **name) for n, code in enumerate(CODES)]
    assert find_sides_with_names(given) == ("consignee",)
    swapped = swap_names(given[0], NAMES["Thai"], 0, ("consignee",))
    assert (swapped.sender_name, swapped.consignee_name) == (CODES[0], NAMES["Thai"][0])


@pytest.mark.parametrize("language", NAMES)
def test_every_listed_name_is_taken_for_a_persons(language):
    assert all(is_person(name) for name in NAMES[language])
    assert len(set(NAMES[language])) == len(NAMES[language]) >= 4


def test_firms_and_filler_keep_their_names_and_people_do_not():
    swapped = swap_names(make_consignment(sender_name="Orchid Trading Ltd"), NAMES["Thai"], 0)
    assert swapped.sender_name == "Orchid Trading Ltd"
    assert swapped.consignee_name == NAMES["Thai"][0]
    assert swap_names(make_consignment(consignee_name="N/A"), NAMES["Thai"], 0).consignee_name == "N/A"


def test_two_people_stay_two_and_one_on_both_sides_stays_one():
    two = swap_names(make_consignment(sender_name="Emma Taylor"), NAMES["Thai"], 3)
    assert two.sender_name != two.consignee_name
    one = swap_names(make_consignment(sender_name="Kim Min-su"), NAMES["Thai"], 3)
    assert one.sender_name == one.consignee_name
