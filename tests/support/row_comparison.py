"""Comparison of the kernels of a row with the oracle in plain Python: forms, values, keys and counterparts, bit for bit.

    python tests/support/row_comparison.py ROWS SEED

does so over hostile consignments in a process of its own, for the forms of numba that an environment variable selects.
"""

import random
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec
import numpy as np
from numba import config as numba_config
from support.examples import make_consignment
from support.form_oracle import normalize_consignment as normalize_in_python
from support.hostile_rows import make_hostile
from support.key_oracle import compute_keys
from support.party_oracle import PartyFeatures

from consignments.records import Consignment
from features import described_rows
from features.config import ExtraColumns, FeatureConfig, HistoryKeys
from features.described_rows import KeyPlan, build_key_plan, describe, normalize_consignment
from features.history.keys import list_key_kinds
from features.history.pseudonyms import Pseudonyms
from features.normalization.tables import create_tables

CONFIG = FeatureConfig(
    ExtraColumns(("tax_rate",), ("tax_type",)),
    HistoryKeys((("sender_city", "hs_code"), ("tax_type", "tax_rate"), ("gross_weight_kg", "consignee_phone", "nature"))),
)  # fmt: skip
KINDS = list_key_kinds(CONFIG)
PSEUDONYMS = Pseudonyms(b"a key for tests")
ORACLE = PartyFeatures()
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


def build_plan() -> KeyPlan:
    """Build the plan of all kinds, in the form that kernels read if they are not compiled."""
    plan = build_key_plan(KINDS, PSEUDONYMS)
    if not numba_config.DISABLE_JIT:
        return plan
    described_rows.create_tables = lambda: create_tables().view(np.recarray)
    return plan._replace(record=plan.record.view(np.recarray))


def list_differences(consignments: list[Consignment], plan: KeyPlan, *, forms_too: bool = False) -> list[str]:
    """List what differs between kernels and oracle."""
    got = describe(consignments, plan)
    found = []
    for c, values, keys, counterparts in zip(consignments, *got, strict=True):
        forms = normalize_in_python(c)
        expected = np.array(ORACLE.compute(c, forms), np.float32)
        for feature, one, other in zip(ORACLE.features, values, expected, strict=True):
            if not np.array_equal(one, other, equal_nan=True):
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
    draws, plan, found = random.Random(seed), build_plan(), []
    with np.errstate(over="ignore"):
        for _ in range(0, rows, GROUP_ROWS):
            group = [make_hostile(draws, draws.choice(BASES)) for _ in range(GROUP_ROWS)]
            found += list_differences(group, plan)
    return found


if __name__ == "__main__":
    differences = compare_hostile(int(sys.argv[1]), int(sys.argv[2]))
    print("\n".join(differences[:10]) or f"{sys.argv[1]} rows are equal")
    raise SystemExit(1 if differences else 0)
