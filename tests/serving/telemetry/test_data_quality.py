"""Missing fields and unknown codes are counted as they come, whatever comes together."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from support.examples import day, make_consignment
from support.serving_examples import DATA_KEY, Client, publish, serving, settings_in

from features.config import ExtraColumns, FeatureConfig
from features.fitted import FittedParameters, fit_features
from features.history.pseudonyms import Pseudonyms
from features.pipeline import Pipeline
from serving.telemetry.metrics import BATCH_CONSIGNMENTS, DataQualityCounters


def learnt(config: FeatureConfig) -> FittedParameters:
    """Vocabularies that know one carrier, one office and one tax type."""
    known = [make_consignment(f"RB{number}", received_at=day(1)) for number in range(30)]
    record = config.build_record_type()
    rows = [
        record(**msgspec.structs.asdict(c), **({"tax_type": "A"} if config.columns.category else {}))
        for c in known
    ]
    return fit_features(rows, config, np.arange(30) % 2, np.ones(30))


@pytest.mark.parametrize("together", [1, 7, BATCH_CONSIGNMENTS, 200])
def test_each_missing_field_and_unknown_code_is_counted(together: int) -> None:
    config = FeatureConfig(columns=ExtraColumns(category=("tax_type",)))
    record = config.build_record_type()
    pipeline = Pipeline(config, learnt(config), Pseudonyms(DATA_KEY))
    traffic = DataQualityCounters()
    traffic.configure(record, pipeline.spec)
    carriers = ["Royal Mail", "Nobody Air", None]
    cs = [
        record(
            **msgspec.structs.asdict(make_consignment(f"RB{n}", carrier=carriers[n % 3])),
            tax_type="AB"[n % 2],
        )
        for n in range(90)
    ]
    keys = np.zeros((2, 90, len(pipeline.kinds)), dtype=np.uint64)
    X = np.zeros((90, len(pipeline.spec)), dtype=np.float32)
    pipeline.fill_rows(cs, X, *keys)
    for start in range(0, 90, together):
        traffic.record(cs[start : start + together], X[start : start + together])
    traffic.flush()
    traffic.flush()
    assert (traffic.missing["carrier",], traffic.missing["office",]) == (30, 0)
    assert (traffic.unknown["carrier",], traffic.unknown["office",], traffic.unknown["tax_type",]) == (
        30,
        0,
        45,
    )
    assert ("received_at",) not in traffic.missing
    assert ("consignment_id",) not in traffic.missing


def test_prometheus_is_told(client: Client) -> None:
    for number in range(3):
        currency = ("USD", "eur", "EURO")[number]
        client.post("/v1/scores", make_consignment(f"RB{number}", hs_code=None, currency=currency))
    text = client.get("/metrics").text
    assert 'npsrisk_missing_values_total{field="hs_code"} 3.0' in text
    assert 'npsrisk_missing_values_total{field="description"} 0.0' in text
    assert 'npsrisk_unknown_codes_total{column="carrier"} 3.0' in text
    assert 'npsrisk_implausible_codes_total{field="currency"} 1.0' in text
    assert 'npsrisk_implausible_codes_total{field="sender_country"} 0.0' in text


def test_a_model_with_other_columns_takes_over(client: Client, tmp_path: Path, column_bundle: Path) -> None:
    client.post("/v1/scores", make_consignment("RB1", hs_code=None))
    publish(tmp_path, column_bundle, "2")
    client.look()
    client.post("/v1/scores", make_consignment("RB2", hs_code=None))
    text = client.get("/metrics").text
    assert 'npsrisk_missing_values_total{field="hs_code"} 2.0' in text
    assert 'npsrisk_missing_values_total{field="tax_rate"} 1.0' in text


def test_the_rules_have_no_vocabulary_and_know_no_code(tmp_path: Path) -> None:
    with serving(settings_in(tmp_path)) as client:
        client.post("/v1/scores", make_consignment("RB1"))
        assert 'npsrisk_unknown_codes_total{column="office"} 1.0' in client.get("/metrics").text
