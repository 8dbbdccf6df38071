"""A log, its keys and a snapshot as an earlier version wrote them are taken over as they are.

`tests/data/log_of_0_1` was written by commit 8c9d688 with the rules: four decisions about three consignments of one sender (one
amended and cancelled), an outcome and an alert.
"""

import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from support.databases import only_sqlite
from support.serving_examples import serving

from consignments.errors import BadSetting
from consignments.records import Consignment
from consignments.timestamps import to_us
from features.history.pseudonyms import load_data_key
from npsrisk import main
from serving.encryption.vault import Vault
from serving.event_log.event_codec import EventCodec
from serving.event_log.log import EventLog
from serving.event_log.reader import LogReader
from serving.event_log.verification.chain import verify_chain
from serving.maintenance.backup import BackupFile, back_up, restore
from serving.process.settings import Settings

WRITTEN = Path(__file__).resolve().parents[1] / "data" / "log_of_0_1"
HEAD = "c0b773d68c481bda91ebc164d508515bf9a8238186c535f00cd6be6f66dfb6bc"
AFTER = datetime(2026, 11, 27, tzinfo=UTC)
pytestmark = only_sqlite


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    shutil.copytree(WRITTEN, tmp_path / "state")
    return Settings.model_validate({"NPSRISK_STATE_DIR": str(tmp_path / "state")})


@pytest.fixture
def converted(settings: Settings) -> Settings:
    """The log after this version was opened on it once, as by a start of the service."""
    vault = Vault.load(settings.state_dir, load_data_key(settings.data_key_file))
    EventLog.open(settings.database_url, vault).close()
    return settings


def test_a_log_that_is_not_converted_is_told_from_none(settings: Settings) -> None:
    with pytest.raises(BadSetting, match=r"tables of an earlier version.*start the service once"):
        back_up(settings, settings.state_dir.parent / "copy")


def test_the_chain_is_valid_and_personal_fields_are_decrypted(converted: Settings) -> None:
    settings = converted
    vault = Vault.load(settings.state_dir, load_data_key(settings.data_key_file))
    codec = EventCodec(vault, Consignment, ())
    with LogReader.open_to_read(settings.database_url) as log:
        found = verify_chain(log)
        assert (found.entries, found.broken_at, found.head) == (7, None, HEAD)
        names = [codec.decode_consignment(event).consignee_name for event in log.read_arrivals()]
    assert names == ["Kim Min-su", "Lee Ji-woo", "Kim Min-su", "Park"]


@pytest.mark.parametrize("with_snapshot", [True, False])
def test_history_goes_on_where_the_earlier_version_stopped(settings: Settings, with_snapshot: bool) -> None:
    if not with_snapshot:
        shutil.rmtree(settings.state_dir / "snapshots")
    with serving(settings, lambda: to_us(AFTER)) as client:
        c = {"consignment_id": "RB000000004DE", "channel": "postal", "sender_name": "Orchid Trading"}
        features = client.post("/v1/scores?features=true", c).json()["features"]
        assert features["history.sender.arrivals_30d"] == 2  # the third was cancelled
        assert features["history.sender.nps_ever"] == 1
        again = {
            "consignment_id": "RB000000003DE",
            "channel": "postal",
            "received_at": "2026-11-23T10:00:00Z",
            "sender_name": "Orchid Trading",
            "consignee_name": "Park",
            "description": "powder",
        }
        assert client.post("/v1/scores", again).json()["decision_id"] == "4432b8e1-6"
    with LogReader.open_to_read(settings.database_url) as log:
        assert verify_chain(log).broken_at is None


def test_parity_names_decisions_whose_rules_have_changed_and_compares_the_others(converted: Settings) -> None:
    environment = {"NPSRISK_STATE_DIR": str(converted.state_dir), "MLFLOW_TRACKING_URI": "sqlite:///none.db"}
    done = CliRunner().invoke(main, ["parity", "--json"], env=environment)
    report = json.loads(done.stdout.splitlines()[-1])
    assert done.exit_code in (0, 1)
    assert report["differences"] == {}
    assert report["compared"] + sum(report["not_compared"].values()) == report["decisions"] == 4
    assert report["unread"] == {}


def test_it_can_be_backed_up(converted: Settings, tmp_path: Path) -> None:
    assert back_up(converted, tmp_path / "copy").head == HEAD


def test_a_backup_of_an_earlier_version_is_restored(converted: Settings, tmp_path: Path) -> None:
    manifest = back_up(converted, tmp_path / "copy")
    earlier = (WRITTEN / "events.db").read_bytes()
    (tmp_path / "copy" / "events.db").write_bytes(earlier)
    entry = BackupFile(len(earlier), hashlib.sha256(earlier).hexdigest())
    manifest = msgspec.structs.replace(manifest, files=manifest.files | {"events.db": entry})
    (tmp_path / "copy" / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    target = Settings.model_validate({"NPSRISK_STATE_DIR": str(tmp_path / "restored")})
    assert restore(target, tmp_path / "copy").head == HEAD
    with LogReader.open_to_read(target.database_url) as log:
        assert verify_chain(log).head == HEAD
