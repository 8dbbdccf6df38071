"""What holds for every plain group: shape, repeatability, and nothing that stands for who a person is."""

from datetime import UTC, date, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.described import build_pipeline, describe_by_name
from support.examples import MONDAY, day, make_consignment

from consignments.records import Alert, Consignment, Item
from consignments.timestamps import to_day
from features.categories import fit_vocabularies
from features.config import FeatureConfig
from features.currency import ExchangeRates
from features.value import fit_norms
from models.reasons.texts import get_template
from training.evaluation.name_invariance import NAMES

RATES = ExchangeRates(np.array(["GBP"]), np.array([to_day(MONDAY) - 1], dtype=np.int32), np.array([[1.25]]))
SOME = [make_consignment(declared_value=10.0 + place) for place in range(40)]


LEARNT = {"norms": fit_norms(SOME, RATES), "vocabularies": fit_vocabularies(SOME, FeatureConfig())}
PIPELINE = build_pipeline(rates=RATES, **LEARNT)
PIPELINE.alerts.add(Alert(alert_id="A1", issued_at=day(-1), description_pattern="cot*", hs_code="61"))
# The groups whose rules concern people: the text of the goods may be in any script, and codes of quality have words of descriptions.
PLAIN = PIPELINE.spec.features[: PIPELINE.history_at]
FEATURES = [feature for feature in PLAIN if feature.group not in ("goods", "quality")]

ODD_TEXTS = ["", " ", "N/A", "P.O. Box 1", ">", "a|b|c", "+", "@", "ﬁ№"]
ODD = st.none() | st.text(max_size=30) | st.sampled_from(ODD_TEXTS)
AMOUNT = st.none() | st.floats(min_value=0, allow_nan=False) | st.sampled_from([0.0, 1.0, 1e300])
TIME = st.none() | st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
ITEM = st.builds(Item, ODD, AMOUNT, AMOUNT, AMOUNT, ODD, ODD)
SPECIAL = {
    "consignment_id": st.text(min_size=1, max_size=30)
    | st.sampled_from(["RB123456785GB", "057-51987552/H1"]),
    "channel": st.sampled_from(["postal", "air_cargo"]),
    "received_at": TIME,
    "cancelled_at": st.none(),
    "account_opened_on": st.none() | st.dates(date(1, 1, 1), date(9999, 12, 31)),
    "items": st.none() | st.lists(ITEM, max_size=3).map(tuple),
    **dict.fromkeys(("pieces", "gross_weight_kg", "declared_value", "postage"), AMOUNT),
}
FIELDS = {name: SPECIAL.get(name, ODD) for name in Consignment.__struct_fields__}
CONSIGNMENT = st.builds(Consignment, **FIELDS)


def all_values(c):
    found = describe_by_name(PIPELINE, c)
    return [found[feature.name] for feature in FEATURES]


@given(CONSIGNMENT)
def test_any_record_gives_one_finite_or_missing_number_for_each_feature(c):
    with np.errstate(over="raise"):
        values = np.array(all_values(c), np.float32)
    assert not np.isinf(values).any()


def test_what_is_learnt_is_marked_as_fitted():
    """Without rates, norms and vocabularies a fitted feature says nothing, and the others do not change."""
    c = make_consignment()
    learnt, unlearnt = (describe_by_name(pipeline, c) for pipeline in (PIPELINE, build_pipeline()))
    changed = {name for name, one in learnt.items() if repr(one) != repr(unlearnt[name])}
    changed = {name for name in changed if not name.startswith("alerts.")}
    assert changed
    assert changed <= {feature.name for feature in FEATURES if feature.fitted}


FORBIDDEN = (
    *("ethnic", "relig", "gender", "racial", "national", "script", "female", "first name", "surname"),
    *("language",),
)


def test_no_feature_speaks_of_who_a_person_is():
    """Nor of the country of a person's address."""
    names = {feature.name for feature in FEATURES}
    assert names.isdisjoint({"category.sender_country", "category.consignee_country"})
    for feature in FEATURES:
        told = f"{feature.name} {get_template(feature).list_texts()}".lower()
        assert not [word for word in FORBIDDEN if word in told]


SPELLINGS = (str, str.upper, str.lower, lambda name: name.split()[0], "  {} ".format, "{0} {0}".format)
"""As given, in capitals, in small letters, one word alone, with spaces around, twice as long."""


@pytest.mark.parametrize("side", ["sender", "consignee"])
@pytest.mark.parametrize("language", NAMES)
def test_no_feature_tells_one_persons_name_from_anothers(side, language):
    usual = repr(all_values(make_consignment(**{f"{side}_name": "Emma Taylor"})))
    for name in NAMES[language]:
        for spelled in SPELLINGS:
            assert repr(all_values(make_consignment(**{f"{side}_name": spelled(name)}))) == usual
