"""The invented example fits the schema."""

from consignments.tables import check_frame
from features.config import ExtraColumns, FeatureConfig
from training.runs.registered_run import build_example_consignments


def test_the_invented_example_is_a_valid_table_with_declared_columns():
    config = FeatureConfig(ExtraColumns(numeric=("tax_rate",)))
    example = build_example_consignments(config)
    assert check_frame(example, config.build_record_type(), strict=True).report.rejected == 0
    assert example["tax_rate"].isna().all()
