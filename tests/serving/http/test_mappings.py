"""Declarations of an own format are read by the mappings of a folder, which is read again when it changes."""

import shutil
from pathlib import Path

import pytest
from support.messages import MESSAGES
from support.serving_examples import publish, serving, settings_in

from consignments.errors import BadSetting
from serving.messages.reading import watch_mappings


def test_a_mapping_of_the_folder_reads_a_declaration(tmp_path: Path, bundle: Path) -> None:
    publish(tmp_path, bundle, "1")
    folder = tmp_path / "mappings"
    folder.mkdir()
    body, headers = (MESSAGES / "itmatt.edi").read_bytes(), {"content-type": "text/plain"}
    with serving(settings_in(tmp_path, NPSRISK_MAPPINGS_DIR=str(folder))) as client:
        before = client.post("/v1/scores", body, headers=headers)
        assert before.status_code == 422 or before.json()["scores"] == []
        shutil.copy(MESSAGES / "itmatt.toml", folder)
        client.look()
        (score,) = client.post("/v1/scores", body, headers=headers).json()["scores"]
        assert score["consignment_id"] == "CP000000013US"
        (folder / "bad.toml").write_text("name = 1")
        client.look()
        assert any(warning.startswith("mappings: ") for warning in client.service.list_warnings())
        assert client.post("/v1/scores", body, headers=headers).json()["scores"] == [
            score | {"repeated": True}
        ]


def test_a_folder_that_does_not_exist_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="no folder of mappings"):
        watch_mappings(tmp_path / "none")
