"""A key that is bound to offices reaches only their consignments; faults name the key, and details need a key."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.examples import day, make_consignment, make_outcome
from support.listening import JSON
from support.serving_examples import Client, publish, serving, settings_in

from consignments.errors import BadSetting
from serving.http.auth import read_keys

KEY = """
[[keys]]
name = "{name}"
sha256 = "{sha256}"
scopes = ["score", "outcome", "read"]
{more}
"""


def key(name: str, more: str = "") -> str:
    return KEY.format(name=name, sha256=hashlib.sha256(name.encode()).hexdigest(), more=more)


@pytest.fixture
def client(tmp_path: Path, bundle: Path) -> Iterator[Client]:
    publish(tmp_path, bundle, "1")
    keys = tmp_path / "keys.toml"
    keys.write_text(key("all") + key("incheon", 'offices = ["Incheon"]\nperson = "K. Lee"'))
    with serving(settings_in(tmp_path, NPSRISK_API_KEYS_FILE=str(keys))) as opened:
        yield opened


def post(client: Client, name: str, path: str, body: Any) -> httpx.Response:
    return client.post(path, body, headers=JSON | {"authorization": f"Bearer {name}"})


def get(client: Client, name: str, path: str) -> httpx.Response:
    return client.get(path, headers={"authorization": f"Bearer {name}"})


def test_a_bound_key_scores_amends_and_reads_its_own_consignments(client: Client) -> None:
    assert post(client, "incheon", "/v1/scores", make_consignment("RB1")).status_code == 200
    assert post(client, "incheon", "/v1/scores", make_consignment("RB1", pieces=7.0)).status_code == 200
    assert post(client, "incheon", "/v1/outcomes", make_outcome("RB1")).status_code == 200
    assert get(client, "incheon", "/v1/consignments/RB1").status_code == 200
    assert len(get(client, "incheon", "/v1/decisions").json()["decisions"]) == 2


def test_a_bound_key_does_not_reach_those_of_others(client: Client) -> None:
    busan = make_consignment("RB2", office="Busan")
    assert post(client, "all", "/v1/scores", busan).status_code == 200
    tried = [
        ("/v1/scores", busan),
        ("/v1/scores", make_consignment("RB2")),
        ("/v1/scores", make_consignment("RB3", office=None)),
        ("/v1/outcomes", make_outcome("RB2")),
        ("/v1/outcomes", make_outcome("RB-unknown", office=None)),
        ("/v1/cancellations", {"consignment_id": "RB2"}),
        (
            "/v1/selections",
            {"office": "Busan", "capacity": 1, "explore": 0, "from": day(-1), "until": day(1)},
        ),
    ]
    for path, body in tried:
        assert post(client, "incheon", path, body).status_code == 403, (path, body)
    assert get(client, "incheon", "/v1/consignments/RB2").status_code == 404
    assert get(client, "incheon", "/v1/decisions").json()["decisions"] == []
    assert len(get(client, "all", "/v1/consignments/RB2").json()["decisions"]) == 1


def test_a_late_version_of_another_office_moves_no_consignment(client: Client) -> None:
    for office, issued in (("Incheon", day(0)), ("Busan", day(-1))):
        body = make_consignment("RB5", office=office, issued_at=issued)
        assert post(client, "all", "/v1/scores", body).status_code == 200
    assert get(client, "incheon", "/v1/consignments/RB5").status_code == 200
    assert post(client, "incheon", "/v1/outcomes", make_outcome("RB5")).status_code == 200


def test_members_of_other_offices_are_named_in_a_list(client: Client) -> None:
    post(client, "all", "/v1/scores", make_consignment("RB2", office="Busan"))
    rows = [make_consignment("RB1"), {}, make_consignment("RB2"), make_consignment("RB4")]
    told = post(client, "incheon", "/v1/scores", {"consignments": rows}).json()
    assert [each["consignment_id"] for each in told["scores"]] == ["RB1", "RB4"]
    assert [(each["index"], each["kind"]) for each in told["errors"]][1:] == [(2, "other_office")]
    listed = post(
        client, "incheon", "/v1/outcomes", {"outcomes": [make_outcome("RB1"), make_outcome("RB2")]}
    ).json()
    assert [each["id"] for each in listed["outcomes"]] == ["RB1"]
    assert [each["kind"] for each in listed["errors"]] == ["other_office"]


def test_a_refusal_names_the_key_and_who_uses_it(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    post(client, "incheon", "/v1/scores", make_consignment("RB2", office="Busan"))
    logged = capsys.readouterr().out
    assert "key=incheon" in logged
    assert "K. Lee" in logged


def test_details_of_health_need_a_key(client: Client) -> None:
    client.service.setting_faults["API keys"] = "/etc/secret/keys.toml: bad"
    assert "/etc/secret" not in client.get("/health/ready").text
    assert client.get("/health/ready").json()["warnings"] == ["details need an API key with the scope read"]
    assert "/etc/secret" in get(client, "all", "/health/ready").text
    assert "/etc/secret" not in get(client, "incheon", "/health/ready").text


def test_a_key_without_a_scope_or_an_office_is_refused(tmp_path: Path) -> None:
    for text in (key("a").replace('["score", "outcome", "read"]', "[]"), key("a", "offices = []")):
        (tmp_path / "keys.toml").write_text(text)
        with pytest.raises(BadSetting, match="the API key file cannot be used"):
            read_keys(tmp_path / "keys.toml")
