"""Settings: environment before file before default; what is wrong is named in one line."""

import subprocess
import sys
from pathlib import Path

import pytest

from serving.process.settings import SETTING_NAMES, RateLimit, Settings


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NPSRISK_SETTINGS", *SETTING_NAMES):
        monkeypatch.delenv(name, raising=False)


def test_files_that_are_not_named_lie_in_the_state_directory_but_approvers_not_next_to_api_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NPSRISK_STATE_DIR", "/srv/npsrisk")
    settings = Settings.read()
    assert settings.database_url == "sqlite:////srv/npsrisk/events.db"
    assert settings.data_key_file == Path("/srv/npsrisk/data.key")
    assert settings.approvers_file == Path("/srv/npsrisk/approvers.toml")
    monkeypatch.setenv("NPSRISK_API_KEYS_FILE", "/srv/keys.toml")
    assert Settings.read().approvers_file == Path("/etc/npsrisk/approvers.toml")
    monkeypatch.setenv("NPSRISK_APPROVERS_FILE", "/srv/approvers.toml")
    assert Settings.read().approvers_file == Path("/srv/approvers.toml")


def test_the_environment_goes_before_the_file_and_the_file_before_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "settings.env"
    monkeypatch.setenv("NPSRISK_SETTINGS", str(file))
    file.write_text("NPSRISK_MAX_BODY_BYTES=5000\nNPSRISK_RATE_LIMIT=600/minute\n")
    monkeypatch.setenv("NPSRISK_MAX_BODY_BYTES", "7000")
    settings = Settings.read()
    assert (settings.max_body_bytes, settings.rate_limit) == (7000, RateLimit(600, 60))
    assert settings.model == "models:/nps-risk@champion"


def test_reading_settings_loads_nothing_heavy() -> None:
    code = "import sys, serving.process.settings; print([m for m in ('numpy', 'pandas', 'sqlalchemy', 'mlflow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
