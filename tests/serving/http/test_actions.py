"""Actions of officers: who and why, once each, durable, and outside of the scores."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import Client, publish, serving, settings_in, vault_in

from models.bundle import load_bundle
from serving.event_log.reader import LogReader
from serving.maintenance.export import export_log
from serving.scoring.loaded_model import PastModels


def act(client: Client, name: str, **more: Any) -> Any:
    return client.post("/v1/actions", {"consignment_id": name, **more})


def read_actions(client: Client, name: str) -> list[tuple[str, str, str | None, str | None]]:
    found = client.get(f"/v1/consignments/{name}").json()["actions"]
    return [(each["action"], each["by"], each["reason"], each["proposal"]) for each in found]


def test_an_action_says_who_and_why_and_what_the_score_proposed(client: Client) -> None:
    band = client.post("/v1/scores", make_consignment("RB1")).json()["band"]
    response = act(client, "RB1", action="request_information", by="K. Lee", reason="value and goods differ")
    assert response.status_code == 200, response.text
    proposed = {"high": "inspect", "elevated": "check", "routine": "release"}[band]
    assert read_actions(client, "RB1") == [
        ("request_information", "K. Lee", "value and goods differ", proposed)
    ]


def test_an_override_of_the_proposal_needs_a_reason(client: Client) -> None:
    client.post("/v1/scores", make_consignment("RB1"))
    wanted = {
        "office": "Incheon",
        "capacity": 1,
        "explore": 0,
        "from": "2024-03-04T00:00:00Z",
        "until": "2024-03-05T00:00:00Z",
    }
    assert len(client.post("/v1/selections", wanted).json()["selections"]) == 1
    refused = act(client, "RB1", action="release", by="K. Lee", reason=" ")
    assert (refused.status_code, refused.json()["errors"][0]["kind"]) == (422, "reason_required")
    assert act(client, "RB1", action="inspect", by="K. Lee").status_code == 200
    assert act(client, "RB1", action="release", by="K. Lee", reason="opened yesterday").status_code == 200
    assert [each[0] for each in read_actions(client, "RB1")] == ["inspect", "release"]


def test_a_release_of_what_was_found_to_hold_something_needs_a_reason(client: Client) -> None:
    assert client.post("/v1/scores", make_consignment("RB1")).json()["band"] != "high"
    client.post("/v1/outcomes", make_outcome("RB1", result="clear", known_at=day(1)))
    assert act(client, "RB1", action="release").status_code == 200
    client.post("/v1/outcomes", make_outcome("RB1", result="nps", known_at=day(2)))
    assert act(client, "RB1", action="release", acted_at=day(3)).status_code == 422
    assert act(client, "RB1", action="release", acted_at=day(3), reason="sealed").status_code == 200


def test_an_action_is_recorded_once_and_only_for_a_known_consignment(client: Client) -> None:
    assert act(client, "RB9", action="inspect").status_code == 404
    client.post("/v1/scores", make_consignment("RB1"))
    sent = {"action": "request_screening", "acted_at": "2024-03-05T09:00:00Z"}
    assert [act(client, "RB1", **sent).json()["repeated"] for _ in range(2)] == [False, True]
    later = act(client, "RB1", **(sent | {"acted_at": "2024-03-05T10:00:00Z"}))
    assert later.json()["repeated"] is False
    future = act(client, "RB1", action="inspect", acted_at="2999-01-01T00:00:00Z")
    assert (future.status_code, future.json()["errors"][0]["kind"]) == (422, "in_future")


def test_actions_survive_a_restart_and_change_no_score(tmp_path: Path, bundle: Path) -> None:
    publish(tmp_path, bundle, "1")
    with serving(settings_in(tmp_path)) as client:
        client.post("/v1/scores", make_consignment("RB1"))
        act(client, "RB1", action="inspect", by="K. Lee", reason="asked by the police")
    with serving(settings_in(tmp_path)) as client:
        again = act(client, "RB1", action="inspect", by="K. Lee", reason="asked by the police")
        assert again.json()["repeated"] is True
        acted = client.post("/v1/scores?features=true", make_consignment("RB2")).json()
    other = tmp_path / "without"
    publish(other, bundle, "1")
    with serving(settings_in(other)) as client:
        client.post("/v1/scores", make_consignment("RB1"))
        plain = client.post("/v1/scores?features=true", make_consignment("RB2")).json()
    assert (acted["score"], acted["features"]) == (plain["score"], plain["features"])


@pytest.mark.parametrize("personal", [False, True])
def test_an_export_has_the_actions_and_only_with_the_key_their_reasons(
    tmp_path: Path, bundle: Path, *, personal: bool
) -> None:
    publish(tmp_path, bundle, "1")
    settings = settings_in(tmp_path)
    with serving(settings) as client:
        client.post("/v1/scores", make_consignment("RB1"))
        act(client, "RB1", action="inspect", by="K. Lee", reason="asked by the police")
    with LogReader.open_to_read(settings.database_url) as log:
        bundles = PastModels(tmp_path, lambda name, version: load_bundle(bundle))
        export_log(log, vault_in(tmp_path) if personal else None, bundles, tmp_path / "out")
    rows = parquet.read_table(tmp_path / "out" / "actions.parquet").to_pylist()
    assert [(row["consignment_id"], row["action"], row["by"], row["sequence"]) for row in rows] == [
        ("RB1", "inspect", "K. Lee", 2)
    ]
    assert [row.get("reason") for row in rows] == ["asked by the police" if personal else None]
    assert b"police" not in b"".join(path.read_bytes() for path in tmp_path.glob("events.db*"))
