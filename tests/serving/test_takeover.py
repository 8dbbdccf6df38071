"""What a log of an earlier version holds becomes history of a new log, through the tables that the earlier version exported.

`tests/data/export_of_049ba582` was exported by that version from a log of four decisions about three consignments of one sender (one
amended and cancelled), an outcome and an alert.
"""

from datetime import UTC, datetime
from pathlib import Path

from click.testing import CliRunner
from support.databases import reader_of, state_environment
from support.serving_examples import serving, settings_in

from consignments.timestamps import to_us
from npsrisk import main
from serving.event_log.verification import verify_chain

EXPORTED = Path(__file__).resolve().parents[1] / "data" / "export_of_049ba582"
AFTER = datetime(2026, 11, 27, tzinfo=UTC)


def test_history_goes_on_where_the_earlier_version_stopped(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    tables = [f"--{name}={EXPORTED / name}.parquet" for name in ("consignments", "outcomes", "alerts")]
    for added in ("4 consignments, 1 outcomes, 1 alerts, 1 cancellations, 0 known", "0 consignments"):
        done = CliRunner().invoke(main, ["import", *tables], env=state_environment(tmp_path))
        assert (done.exit_code, added in done.output) == (0, True), done.output
    with serving(settings, lambda: to_us(AFTER)) as client:
        c = {"consignment_id": "RB000000004DE", "channel": "postal", "sender_name": "Orchid Trading"}
        features = client.post("/v1/scores?features=true", c).json()["features"]
        assert features["history.sender.arrivals_30d"] == 2  # the third was cancelled
        assert features["history.sender.nps_ever"] == 1
    with reader_of(tmp_path) as log:
        assert verify_chain(log).broken_at is None
