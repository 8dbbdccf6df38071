"""Comparison of the kernels of a row with the oracle in plain Python: forms, values, keys and counterparts, bit for bit.

    python tests/support/row_comparison.py ROWS SEED

does so over hostile consignments in a process of its own, for the forms of numba that an environment variable selects.
"""

import random
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec
import numpy as np
from support.category_oracle import CategoryFeatures
from support.examples import make_consignment
from support.form_oracle import normalize_consignment as normalize_in_python
from support.goods_oracle import GoodsFeatures
from support.hostile_rows import make_hostile
from support.key_oracle import compute_keys
from support.party_oracle import PartyFeatures
from support.quality_oracle import QualityFeatures
from support.route_oracle import RouteFeatures
from support.uncompiled import prepare_plan, prepare_tables
from support.value_oracle import ValueFeatures

from consignments.records import Alert, Consignment
from features.alerts.alerts import Alerts
from features.config import ExtraColumns, FeatureConfig, HistoryKeys
from features.currency import ExchangeRates
from features.goods.kernels import TEXT_BUCKETS
from features.history.keys import list_key_kinds
from features.history.pseudonyms import Pseudonyms
from features.indicators.operation_keys import OperationKey, OperationKeys
from features.indicators.values import compute_indicators
from features.rows.alert_kernels import AlertSearch
from features.rows.described_rows import DescribedRows, create_rows, fill_described, normalize_consignment
from features.rows.plans import FeaturePlan, FittedFeatures, KeyPlan, build_feature_plan, build_key_plan

CONFIG = FeatureConfig(
    ExtraColumns(("tax_rate",), ("tax_type",)),
    HistoryKeys((("sender_city", "hs_code"), ("tax_type", "tax_rate"), ("gross_weight_kg", "consignee_phone", "nature"))),
)  # fmt: skip
KINDS = list_key_kinds(CONFIG)
PSEUDONYMS = Pseudonyms(b"a key for tests")
RECORD = CONFIG.build_record_type()
VOCABULARIES = {
    "carrier": ["royal mail", "dhl", "ss", "i\u0307", "fi", "k", "大韓"], "service": ["small_packet", "ems"], "office": ["royal mail"],
    "payment": ["dhl"], "tax_type": ["royal mail", "ss"], "channel": ["postal"], "currency": ["usd", "gbp"], "hs_chapter": ["61", "29"],
    "hs_heading": ["6109"], "hs6": ["610910", "123456"], "nature": ["gift"], "departure_country": ["gb", "ss"],
}  # fmt: skip
RATES = ExchangeRates(
    np.array(["GBP", "KRW"]),
    np.array([19785, 19786, 19790], np.int32),
    np.array([[1.25, np.nan], [1.26, 0.00075], [1.27, 0.00076]]),
)
NORMS = {
    "value|USD|": [3.1, 1.7], "value|USD|61": [2.9, 0.7], "value|USD|6109": [2.5, 0.3], "per_kg|USD|": [3.3, 1.1], "per_kg|USD|6109": [3.0, 0.9],
    "per_piece|USD|61": [2.2, 0.8], "value||": [5.0, 2.0], "value|VND|": [9.0, 1.3], "value|ＵＳＤ|": [1.0, 0.1], "per_kg|USD|6": [1.0, 0.5],
    "weight_per_piece|KG|": [-0.3, 1.2], "weight_per_piece|KG|6109": [-1.1, 0.9], "weight_per_piece|KG|29": [0.4, 0.6],
}  # fmt: skip
WEIGHTS = np.random.default_rng(5).normal(size=TEXT_BUCKETS).astype(np.float32)
ORACLES = (
    PartyFeatures(), RouteFeatures(), ValueFeatures(RATES, NORMS), CategoryFeatures(VOCABULARIES, CONFIG), QualityFeatures(),
    GoodsFeatures(WEIGHTS),
)  # fmt: skip
FEATURES = [feature for group in ORACLES for feature in group.features]
GROUP_ROWS = 32
BASES = (
    msgspec.structs.asdict(make_consignment()),
    msgspec.structs.asdict(
        make_consignment(
            sender_name="주식회사 한빛 화학", sender_address="테헤란로 45, 101동 1203호", sender_city="서울", sender_postcode="062 32",
            sender_country="KR", sender_phone="010-5550-1234", sender_email="J.Doe+shop@GMail.com", consignee_name="Kim Min-su",
            consignee_address="12 Student Dormitory, Flat 3", consignee_city="London", consignee_postcode="E1 6AN",
            consignee_country="GB", consignee_phone="+44 20 7946 0018 ext 3", consignee_email="x@mailinator.com",
        )
    ),
    msgspec.structs.asdict(
        make_consignment(
            sender_name="武汉生物科技有限公司", sender_address="ул. Ленина 5, кв. 7", sender_city="Москва", sender_postcode="101000",
            sender_country="RU", sender_phone="8 (916) 123-45-67", sender_email="продажи@пример.рф", account_id="ACC 7",
            consignee_name="Müller GmbH & Co. KG", consignee_address="Hauptstraße 5, Postfach 12", consignee_city="Köln",
            consignee_country="DE", consignee_phone="0221/123456",
        )
    ),
)  # fmt: skip


ISSUED_AT = datetime(2020, 1, 1, tzinfo=UTC)
OPERATION_KEY = OperationKey("EXAMPLE", bytes(32))
PATTERNS: tuple[dict[str, str], ...] = (
    {"sender_name": "Orchid Trading"}, {"consignee_name": "KIM, Minsu"}, {"sender_address": "12 Harbour Road"},
    {"consignee_address": "12 Student Dormitory, Flat 3"}, {"description_pattern": "4-CMC"}, {"description_pattern": "vita*"},
    {"description_pattern": "*icon"}, {"description_pattern": "*otto*"}, {"hs_code": "610910"}, {"route": "HKG>ICN"},
    {"departure_country": "kr"},
)  # fmt: skip


class Plans(NamedTuple):
    """The plans of keys and features that are compared, and the alerts in force."""

    keys: KeyPlan
    features: FeaturePlan
    alerts: Alerts


def build_plans() -> Plans:
    """Build the plans of all kinds and features, in the form that kernels read if they are not compiled."""
    prepare_tables()
    features = build_feature_plan(CONFIG, FittedFeatures(VOCABULARIES, NORMS, RATES, WEIGHTS), alerts=0)
    return Plans(
        prepare_plan(build_key_plan(KINDS, PSEUDONYMS, CONFIG)), prepare_plan(features), build_alerts()
    )


def build_alerts() -> Alerts:
    """Build alerts of all kinds, which match some hostile rows: those that change nothing of what an alert names."""
    seized = [compute_indicators(make_consignment(**base), OPERATION_KEY) for base in BASES]
    alerts = [Alert(f"P{place}", ISSUED_AT, **each) for place, each in enumerate(PATTERNS)]
    alerts += [Alert(f"S{place}", ISSUED_AT, indicators=each) for place, each in enumerate(seized)]
    return Alerts(alerts, keys=OperationKeys([OPERATION_KEY]))


def describe_all(
    consignments: list[Consignment], plans: Plans, search: AlertSearch | None = None
) -> DescribedRows:
    """Return all features but history and alerts, and the keys."""
    rows = create_rows(len(consignments), plans.keys)
    rows = rows._replace(values=np.full((len(consignments), plans.features.columns), -9, np.float32))
    search = search if search is not None else create_search(consignments, plans)
    fill_described(consignments, plans.keys, plans.features, rows, search)
    return rows


def create_search(consignments: list[Consignment], plans: Plans) -> AlertSearch:
    """Create a search for rows that the alerts may match."""
    return AlertSearch.create(plans.alerts.build_tables(), len(consignments))


def list_differences(consignments: list[Consignment], plans: Plans, *, forms_too: bool = False) -> list[str]:
    """List what differs between kernels and oracle."""
    found, search = [], create_search(consignments, plans)
    described = describe_all(consignments, plans, search)
    for c, marked, values, keys, counterparts in zip(
        consignments, search.candidates, *described, strict=True
    ):
        forms = normalize_in_python(c)
        if not marked and plans.alerts.list_matches(c, forms):
            found.append(f"an alert matches, but its row is not marked: {c}")
        with np.errstate(over="ignore"):
            expected = np.array([value for group in ORACLES for value in group.compute(c, forms)], np.float32)
        for feature, one, other in zip(FEATURES, values, expected, strict=True):
            if one.tobytes() != other.tobytes() and not (one != one and other != other):
                found.append(f"{feature.name}: {one}, not {other}, of {c}")
        both = compute_keys(KINDS, PSEUDONYMS, c, forms)
        for kind, *numbers in zip(KINDS, keys.tolist(), both[0], counterparts.tolist(), both[1], strict=True):
            if numbers[0] != numbers[1] or numbers[2] != numbers[3]:
                found.append(f"key {kind.name} of {c}")
        if forms_too and normalize_consignment(c) != forms:
            found.append(f"{normalize_consignment(c)}, not {forms}")
    return found


def compare_hostile(rows: int, seed: int) -> list[str]:
    """List what differs over hostile consignments."""
    draws, plans, found = random.Random(seed), build_plans(), []
    with np.errstate(over="ignore"):
        for _ in range(0, rows, GROUP_ROWS):
            group = [make_hostile(draws, draws.choice(BASES), RECORD) for _ in range(GROUP_ROWS)]
            found += list_differences(group, plans)
    return found


if __name__ == "__main__":
    differences = compare_hostile(int(sys.argv[1]), int(sys.argv[2]))
    print("\n".join(differences[:10]) or f"{sys.argv[1]} rows are equal")
    raise SystemExit(1 if differences else 0)
