"""Actions of officers: who and why, once each, durable, and outside of the scores."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
from support.databases import stored_bytes
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


def test_an_override_of_the_proposal_or_of_a_find_needs_a_reason(client: Client) -> None:
    for name in ("RB1", "RB2"):
        assert client.score(name)["band"] != "high"
    span = {"from": "2024-03-04T00:00:00Z", "until": "2024-03-05T00:00:00Z"}
    wanted = {"office": "Incheon", "capacity": 1, "explore": 0, **span}
    (chosen,) = client.send("/v1/selections", wanted)["selections"]
    selected = chosen["consignment_id"]
    refused = act(client, selected, action="release", by="K. Lee", reason=" ")
    assert (refused.status_code, refused.json()["errors"][0]["kind"]) == (422, "reason_required")
    assert act(client, selected, action="inspect", by="K. Lee").status_code == 200
    assert act(client, selected, action="release", by="K. Lee", reason="opened yesterday").status_code == 200
    assert [each[0] for each in read_actions(client, selected)] == ["inspect", "release"]
    other = "RB1" if selected == "RB2" else "RB2"
    client.send("/v1/outcomes", make_outcome(other, result="clear", known_at=day(1)))
    assert act(client, other, action="release").status_code == 200
    client.send("/v1/outcomes", make_outcome(other, result="nps", known_at=day(2)))
    assert act(client, other, action="release", acted_at=day(3)).status_code == 422
    assert act(client, other, action="release", acted_at=day(3), reason="sealed").status_code == 200


def test_an_action_is_recorded_once_and_only_for_a_known_consignment(client: Client) -> None:
    assert act(client, "RB9", action="inspect").status_code == 404
    client.post("/v1/scores", make_consignment("RB1"))
    sent = {"action": "request_screening", "acted_at": "2024-03-05T09:00:00Z"}
    assert [act(client, "RB1", **sent).json()["repeated"] for _ in range(2)] == [False, True]
    later = act(client, "RB1", **(sent | {"acted_at": "2024-03-05T10:00:00Z"}))
    assert later.json()["repeated"] is False
    future = act(client, "RB1", action="inspect", acted_at="2999-01-01T00:00:00Z")
    assert (future.status_code, future.json()["errors"][0]["kind"]) == (422, "in_future")


def test_actions_survive_a_restart_change_no_score_and_are_exported_with_their_reasons_only_with_the_key(
    tmp_path: Path, bundle: Path
) -> None:
    found = []
    for name, acted in (("plain", False), ("acted", True)):
        publish(tmp_path / name, bundle, "1")
        settings = settings_in(tmp_path / name)
        for repeated in (False, True):
            with serving(settings) as client:
                client.score("RB1")
                if acted:
                    answer = act(client, "RB1", action="inspect", by="K. Lee", reason="asked by the police")
                    assert answer.json()["repeated"] is repeated
        with serving(settings) as client:
            told = client.score("RB2", "?features=true")
            found.append((told["score"], told["features"]))
    assert found[0] == found[1]
    for personal, reason in ((True, "asked by the police"), (False, None)):
        with LogReader.open_to_read(settings.database_url) as log:
            bundles = PastModels(settings.state_dir, lambda name, version: load_bundle(bundle))
            vault = vault_in(settings.state_dir) if personal else None
            export_log(log, vault, bundles, tmp_path / "out")
        (row,) = parquet.read_table(tmp_path / "out" / "actions.parquet").to_pylist()
        assert [row[name] for name in ("consignment_id", "action", "by", "sequence")] == [
            "RB1",
            "inspect",
            "K. Lee",
            2,
        ]
        assert row.get("reason") == reason
    assert b"police" not in stored_bytes(settings.state_dir)
