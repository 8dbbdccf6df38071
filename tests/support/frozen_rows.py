"""Frozen answers: what a version of npsrisk computed for 20,000 simulated and hostile rows, so that no later one is tested against itself alone.

    python tests/support/frozen_rows.py

writes `tests/data/frozen_rows` again with the code of today. Do this only if a definition changes on purpose, with `FEATURES_VERSION` or
`KEYS_VERSION`. The sources stay: 2,800 stored rows of simulated worlds and of hostile texts. The rows are those, and mixtures of the
columns in `columns.txt`: a further column of the record changes none of them. The alerts stay too: S0 to S9 hold the indicators of every
280th source from the sixth on, which partners keep; who changes indicators on purpose puts theirs there anew.
"""

import json
import lzma
import random
import sys
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[place]) for place in (1, 2)]

import numpy as np

from consignments.records import Alert, Consignment, Item
from features.alerts.alerts import Alerts
from features.categories import fit_vocabularies
from features.config import ExtraColumns, FeatureConfig, HistoryKeys
from features.currency import ExchangeRates
from features.fitted import FittedParameters
from features.goods.kernels import TEXT_BUCKETS
from features.history.pseudonyms import Pseudonyms
from features.indicators.operation_keys import OperationKey, OperationKeys
from features.normalization.normal_forms import normalize_consignment
from features.pipeline import Pipeline
from features.value import fit_norms

FOLDER = Path(__file__).resolve().parents[1] / "data" / "frozen_rows"
ROWS, GROUP_ROWS = 20_000, 250
CONFIG = FeatureConfig(
    ExtraColumns(("tax_rate",), ("tax_type",)),
    HistoryKeys((("sender_city", "hs_code"), ("tax_type", "tax_rate"), ("gross_weight_kg", "consignee_phone", "nature"))),
)  # fmt: skip
RECORD = CONFIG.build_record_type()
PSEUDONYMS = Pseudonyms(b"a key of the frozen rows")
OPERATION_KEY = OperationKey("EXAMPLE", bytes(32))
RATE_DAYS = range(19_600, 20_400, 3)
CURRENCIES = {"EUR": 1.08, "GBP": 1.25, "KRW": 0.00075, "JPY": 0.0068, "CNY": 0.139}
WEIGHTS = np.random.default_rng(5).normal(size=TEXT_BUCKETS).astype(np.float32)
PARTS = ("parties", "route", "value", "category", "column", "quality", "alerts", "goods", "keys", "forms")
"""What is digested of a row: the features of each group but history, its keys and counterparts, and its normal forms."""
SIDES = ("sender", "consignee")
# Columns that mixtures take together from one source row.
BLOCKS = (
    *(tuple(f"{side}_{part}" for part in ("name", "address", "city", "postcode", "country", "phone", "email")) for side in SIDES),
    ("description", "hs_code", "items"), ("declared_value", "currency", "gross_weight_kg", "pieces", "postage", "received_at"),
    ("consignment_id", "master_id", "channel", "service", "route", "departure_country", "destination_country", "origin_country"),
)  # fmt: skip


def read_sources() -> list[Consignment]:
    lines = lzma.decompress((FOLDER / "sources.jsonl.xz").read_bytes()).decode().splitlines()
    return [_read_record(json.loads(line)) for line in lines]


def mix_rows(sources: Sequence[Consignment]) -> Iterator[Consignment]:
    """Generate the rows: the sources, then mixtures of blocks of columns of some of them, then mixtures of single columns."""
    draws = random.Random(7)
    singles = tuple((name,) for name in (FOLDER / "columns.txt").read_text().split())
    blocks = (*BLOCKS, *(single for single in singles if single[0] not in sum(BLOCKS, ())))
    yield from sources
    for number in range(ROWS - len(sources)):
        parts = blocks if number % 5 < 3 else singles
        chosen = [sources[int(draws.random() * len(sources))] for _ in parts]
        pairs = zip(parts, chosen, strict=True)
        yield RECORD(**{name: getattr(source, name) for part, source in pairs for name in part})


def build_pipeline(fitted: dict[str, Any]) -> Pipeline:
    parameters = FittedParameters(fitted["vocabularies"], fitted["norms"], build_rates(), WEIGHTS)
    return Pipeline(CONFIG, parameters, PSEUDONYMS, read_alerts())


def build_rates() -> ExchangeRates:
    """Build exchange rates that rise a little every third day; the last currency has none in the first half."""
    usd = np.array([list(CURRENCIES.values())]) * (1 + 1e-5 * np.arange(len(RATE_DAYS))[:, None])
    usd[: len(usd) // 2, -1] = np.nan
    return ExchangeRates(np.array(list(CURRENCIES)), np.array(RATE_DAYS, np.int32), usd)


def read_alerts() -> Alerts:
    """Read alerts of what some sources say, alone and in pairs, with wildcards and ends, and the indicators of others."""
    alerts = []
    for values in map(json.loads, (FOLDER / "alerts.jsonl").read_text().splitlines()):
        times = {name: datetime.fromisoformat(values[name]) for name in values if name.endswith("_at")}
        alerts.append(Alert(**values | times))
    return Alerts(alerts, keys=OperationKeys([OPERATION_KEY]))


def fit_parameters(sources: Sequence[Consignment]) -> dict[str, Any]:
    return {"vocabularies": fit_vocabularies(sources, CONFIG), "norms": fit_norms(sources, build_rates())}


def read_frozen() -> tuple[dict[str, Any], list[str], np.ndarray]:
    """Read what `fit_parameters` learnt, the features that are compared, none that came later, and a row of digests for each consignment."""
    names = (FOLDER / "features.txt").read_text().split()
    return json.loads((FOLDER / "fitted.json").read_text()), names, np.load(FOLDER / "digests.npy")


def compute_answers(
    pipeline: Pipeline, sources: Sequence[Consignment], names: Sequence[str], every: int = 1
) -> np.ndarray:
    """Compute digests with the code of today, of some features and of all keys and forms; of each so many groups of rows one."""
    rows = list(mix_rows(sources))
    digests = np.zeros((len(rows), len(PARTS)), np.uint16)
    places = [pipeline.spec.get_column(name) for name in names]
    parts = [[at for at, name in enumerate(names) if name.startswith(f"{part}.")] for part in PARTS[:-2]]
    for begin in range(0, len(rows), GROUP_ROWS * every):
        group = rows[begin : begin + GROUP_ROWS]
        X = np.full((len(group), pipeline.history_at), -9, np.float32)
        keys = np.zeros((2, len(group), len(pipeline.kinds)), np.uint64)
        with np.errstate(over="ignore"):  # a few hostile amounts are negative, which no valid record has
            pipeline.fill_rows(group, X, *keys)
        X[np.isnan(X)] = np.nan  # one kind of NaN
        for place, c in enumerate(group):
            row, forms = X[place, places], "\x1f".join(normalize_consignment(c))
            contents = [*(row[each].tobytes() for each in parts), keys[:, place].tobytes()]
            contents.append(forms.encode("utf-8", "surrogatepass"))
            hashes = [blake2b(each, digest_size=2).digest() for each in contents]
            digests[begin + place] = [int.from_bytes(each, "big") for each in hashes]
    return digests


def _read_record(values: dict[str, Any]) -> Consignment:
    """Read a row; hostile ones hold values of other types than their columns."""
    for name, value in values.items():
        if name.endswith("_at"):
            values[name] = datetime.fromisoformat(value)
        elif name.endswith("_on"):
            values[name] = date.fromisoformat(value)
        elif name == "items":
            values[name] = tuple(Item(**each) for each in value)
        elif isinstance(value, list):
            values[name] = tuple(value)
    return RECORD(**values)


def main() -> None:
    FOLDER.mkdir(exist_ok=True, parents=True)
    sources = read_sources()
    fitted = fit_parameters(sources)
    (FOLDER / "fitted.json").write_text(json.dumps(fitted, indent=1, ensure_ascii=True) + "\n")
    pipeline = build_pipeline(fitted)
    names = pipeline.spec.names[: pipeline.history_at]
    (FOLDER / "features.txt").write_text("\n".join(names) + "\n")
    np.save(FOLDER / "digests.npy", compute_answers(pipeline, sources, names))


if __name__ == "__main__":
    main()
