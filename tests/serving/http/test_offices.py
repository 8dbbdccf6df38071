"""A key that is bound to offices reaches only their consignments; faults name the key, and details need a key."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from support.examples import day, make_consignment, make_outcome
from support.linked_messages import write_house, write_master
from support.serving_examples import Client, bear, describe_key
from support.site import Site

from serving.http.auth import TokenBucket
from serving.process.settings import RateLimit

SCOPES = ("score", "outcome", "read", "metrics")


def key(name: str, more: str = "") -> str:
    return describe_key(name, *SCOPES, more=more)


@pytest.fixture
def client(site: Site) -> Iterator[Client]:
    keys, offices = site.folder / "keys.toml", site.folder / "offices.csv"
    bound = key("incheon", 'offices = ["Incheon"]\nperson = "K. Lee"')
    keys.write_text(key("all") + bound + key("both", 'offices = ["Incheon", "Gimpo"]'))
    offices.write_text("place,office\nPUS,Busan\nGMP,Gimpo\n")
    with site.serve(NPSRISK_API_KEYS_FILE=str(keys), NPSRISK_OFFICES_FILE=str(offices)) as opened:
        yield opened


def post(client: Client, name: str, path: str, body: Any) -> httpx.Response:
    return client.post(path, body, headers=bear(name))


def send(client: Client, name: str, body: bytes, office: str = "") -> dict[str, Any]:
    """Send messages in XML with a key, and with the header X-Office."""
    headers = {"content-type": "application/xml", "authorization": f"Bearer {name}"}
    headers |= {"x-office": office} if office else {}
    return client.post("/v1/scores", body, headers=headers).json()


def get(client: Client, name: str, path: str) -> httpx.Response:
    return client.get(path, headers=bear(name))


def test_a_bound_key_reaches_its_own_consignments_and_not_those_of_others(client: Client) -> None:
    busan = make_consignment("RB2", office="Busan")
    wanted = {"capacity": 5, "explore": 0, "from": day(-1), "until": day(1)}
    assert post(client, "all", "/v1/scores", busan).status_code == 200
    tried = [
        ("/v1/scores", make_consignment("RB1"), 200),
        ("/v1/scores", make_consignment("RB1", pieces=7.0), 200),
        ("/v1/outcomes", make_outcome("RB1"), 200),
        ("/v1/scores", busan, 403),
        ("/v1/scores", make_consignment("RB2"), 403),
        ("/v1/scores?office=Busan", make_consignment("RB3", office=None), 403),
        ("/v1/outcomes", make_outcome("RB2"), 403),
        ("/v1/outcomes", make_outcome("RB-unknown", office=None), 403),
        ("/v1/cancellations", {"consignment_id": "RB2"}, 403),
        ("/v1/selections", wanted | {"office": "Busan"}, 403),
        ("/v1/selections", wanted | {"office": None}, 403),
    ]
    for path, body, status in tried:
        assert post(client, "incheon", path, body).status_code == status, (path, body)
    for name, status in (("RB1", 200), ("RB2", 404)):
        assert get(client, "incheon", f"/v1/consignments/{name}").status_code == status
    decisions = get(client, "incheon", "/v1/decisions").json()["decisions"]
    assert [each["consignment_id"] for each in decisions] == ["RB1", "RB1"]
    assert len(get(client, "all", "/v1/consignments/RB2").json()["decisions"]) == 1
    for name in ("RB1", "RB2", "RB-unknown"):
        post(client, "all", "/v1/events", {"consignment_id": name, "state": "do_not_load"})
    assert [each["consignment_id"] for each in get(client, "incheon", "/v1/events").json()["events"]] == [
        "RB1"
    ]
    post(client, "all", "/v1/scores", make_consignment("RB4", office=None))
    found = post(client, "all", "/v1/selections", wanted | {"office": None}).json()
    assert [(each["consignment_id"], each["office"]) for each in found["selections"]] == [("RB4", None)]
    assert post(client, "all", "/v1/selections", wanted | {"office": None}).json() == found
    assert get(client, "incheon", "/v1/selections").json()["selections"] == []
    for office, issued in (("Incheon", day(0)), ("Busan", day(-1))):  # a late version moves no consignment
        post(client, "all", "/v1/scores", make_consignment("RB5", office=office, issued_at=issued))
    assert post(client, "incheon", "/v1/outcomes", make_outcome("RB5")).status_code == 200


OFFICES: list[tuple[str, str, dict[str, Any], str | None]] = [
    ("all", "?office=Busan", {"office": "Incheon"}, "Incheon"),
    ("both", "?office=Incheon", {"route": "PVG>GMP"}, "Incheon"),
    ("incheon", "", {"route": "PVG>PUS"}, "Incheon"),
    ("both", "", {"route": "PVG>GMP"}, "Gimpo"),
    ("all", "", {"route": "PVG>PUS"}, "Busan"),
    ("all", "", {"route": "PVG>CJU"}, None),
]


def test_the_office_is_that_of_consignment_request_key_or_destination(client: Client, tmp_path: Path) -> None:
    for place, (name, query, fields, _) in enumerate(OFFICES):
        c = make_consignment(f"RB{place}", **{"office": None, **fields})
        assert post(client, name, f"/v1/scores{query}", c).status_code == 200
    (tmp_path / "offices.csv").write_text("place,office\nPUS,Gimpo\n")
    client.look()
    c = make_consignment("RB4", office=None, route="PVG>PUS")  # it stays with a repeat and an amendment
    assert post(client, "all", "/v1/scores?office=Incheon", c).json()["repeated"] is True
    post(client, "all", "/v1/scores?office=Incheon", msgspec.structs.replace(c, pieces=9.0))
    post(client, "all", "/v1/scores", msgspec.structs.replace(c, consignment_id="RB9"))
    decisions = get(client, "all", "/v1/decisions").json()["decisions"]
    assert [each["office"] for each in decisions] == [*(office for *_, office in OFFICES), "Busan", "Gimpo"]
    assert "npsrisk_without_office_total 1.0" in get(client, "all", "/metrics").text


def test_the_header_names_the_office_and_a_foreign_or_contradicting_one_is_refused(client: Client) -> None:
    c = make_consignment("RB1", office=None)
    refused = (("Busan", "", 403), ("Incheon", "?office=Gimpo", 422), ("x" * 101, "", 422))
    unnamed = post(client, "both", "/v1/scores", c)  # no place and no single office
    assert (unnamed.status_code, unnamed.json()["detail"].partition(":")[0]) == (403, "name an office")
    for office, query, status in (*refused, ("Incheon", "?office=Incheon", 200)):
        answer = client.post(f"/v1/scores{query}", c, headers=bear("both", x_office=office))
        assert answer.status_code == status, office
    assert get(client, "incheon", "/v1/consignments/RB1").status_code == 200


def test_a_house_withdraws_no_consolidation_of_another_office_without_its_key(client: Client) -> None:
    (master,) = send(client, "all", write_master(day(0)), "Busan")["scores"]
    told = send(client, "incheon", write_house(day(0)))
    (house,) = told["scores"]
    assert house["cancelled"] is False
    assert get(client, "incheon", f"/v1/consignments/{house['consignment_id']}").status_code == 200
    assert told["messages"]["notes"][0].startswith(f"{master['consignment_id']}: these messages concern it")
    scores = send(client, "all", write_house(day(0), name="WHX1"), "Busan")["scores"]
    withdrawn, name = (master["consignment_id"], True), f"{master['consignment_id']}/WHX1"
    assert [(each["consignment_id"], each["cancelled"]) for each in scores] == [withdrawn, (name, False)]


def test_a_master_changes_no_house_of_other_offices_and_their_keys_still_do(client: Client) -> None:
    house, master = write_house(day(0)), write_master(day(0))
    (first,) = send(client, "all", house, "Busan")["scores"]
    for _ in range(2):
        told = send(client, "incheon", master)
        assert (told["scores"], told["errors"]) == ([], [])
        (note,) = told["messages"]["notes"]
        assert note.startswith(f"{first['consignment_id']}: these messages concern it")
        assert "bound to other offices" in note
    decisions = get(client, "all", "/v1/decisions").json()["decisions"]
    assert [each["decision_id"] for each in decisions] == [first["decision_id"]]
    changed = write_house(day(0), who="KIM SEO")
    (fault,) = send(client, "incheon", changed)["errors"]
    assert (fault["kind"], fault["consignment_id"]) == ("other_office", first["consignment_id"])
    assert "pointer" not in fault
    (amended,) = send(client, "all", master)["scores"]
    (corrected,) = send(client, "all", changed)["scores"]
    (again,) = send(client, "all", master)["scores"]
    assert [each["repeated"] for each in (amended, corrected, again)] == [False, False, True]
    (mine,) = send(client, "incheon", write_house(day(0), name="WHX1"))["scores"]
    (note,) = (told := send(client, "incheon", write_master(day(0), stop="TPE")))["messages"]["notes"]
    assert note.startswith(first["consignment_id"])
    assert [each["consignment_id"] for each in told["scores"]] == [mine["consignment_id"]]


def test_a_list_names_members_of_other_offices(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    post(client, "all", "/v1/scores", make_consignment("RB2", office="Busan"))
    rows = [make_consignment("RB1"), {}, make_consignment("RB2"), make_consignment("RB4")]
    told = post(client, "incheon", "/v1/scores", {"consignments": rows}).json()
    assert [each["consignment_id"] for each in told["scores"]] == ["RB1", "RB4"]
    assert [(each["index"], each["kind"]) for each in told["errors"]][1:] == [(2, "other_office")]
    outcomes = {"outcomes": [make_outcome("RB1"), make_outcome("RB2")]}
    listed = post(client, "incheon", "/v1/outcomes", outcomes).json()
    assert [each["id"] for each in listed["outcomes"]] == ["RB1"]
    assert [each["kind"] for each in listed["errors"]] == ["other_office"]
    post(client, "incheon", "/v1/scores", make_consignment("RB2", office="Busan"))
    logged = capsys.readouterr().out
    assert ("key=incheon" in logged, "K. Lee" in logged) == (True, True)


def test_details_of_health_need_a_key(client: Client) -> None:
    client.service.setting_faults["API keys"] = "/etc/secret/keys.toml: bad"
    assert "/etc/secret" not in client.get("/health/ready").text
    assert client.get("/health/ready").json()["warnings"] == ["details need an API key with the scope read"]
    assert "/etc/secret" in get(client, "all", "/health/ready").text
    assert "/etc/secret" not in get(client, "incheon", "/health/ready").text


def test_keys_change_without_a_restart_and_a_lost_file_is_told(client: Client, tmp_path: Path) -> None:
    headers = {"Bearer all": 200, "bearer all": 200, "Bearer wrong": 401, "Bearer": 401, "Basic all": 401}
    for header, status in headers.items():
        assert client.get("/v1/decisions", headers={"authorization": header}).status_code == status
    keys, gone = tmp_path / "keys.toml", tmp_path / "elsewhere"
    expired = describe_key("old", more="expires_at = 2020-01-01T00:00:00Z")
    keys.write_text(key("new", "expires_at = 2999-01-01T00:00:00Z") + expired)
    for place, (refused, words) in enumerate(((0.0, ""), (1.0, "API keys: the changed file is refused"))):
        if place:
            keys.rename(gone)
        client.look()
        statuses = [get(client, name, "/v1/decisions").status_code for name in ("new", "all", "old")]
        assert statuses == [200, 401, 401]
        assert words in str(get(client, "new", "/health/ready").json()["warnings"])
        assert f"npsrisk_settings_refused {refused}" in get(client, "new", "/metrics").text
    gone.rename(keys)
    client.look()
    assert get(client, "new", "/health/ready").json()["warnings"] == []


def test_the_rate_limit_counts_each_record_of_a_key_and_tells_the_wait(site: Site) -> None:
    one, late = make_consignment("RB1"), make_consignment("RB2", received_at=day(400))
    sent: list[tuple[int, Any, str]] = [
        (200, one, "all"),
        (422, late, "all"),
        (400, b"{", "all"),
        (200, {"consignments": [make_consignment(name) for name in ("RB3", "RB4")]}, "all"),
        (200, make_consignment("RB5"), "all"),
        (429, make_consignment("RB6"), "all"),
        (200, make_consignment("RB7"), "other"),
    ]
    keys = site.folder / "keys.toml"
    keys.write_text(key("all") + key("other"))
    with site.serve(NPSRISK_API_KEYS_FILE=str(keys), NPSRISK_RATE_LIMIT="5/hour") as client:
        for status, body, name in sent:
            answer = post(client, name, "/v1/scores", body)
            assert answer.status_code == status, body
            assert status != 429 or 710 < int(answer.headers["retry-after"]) <= 720


def test_a_large_call_passes_once_and_is_paid_for_later() -> None:
    now = [0.0]
    bucket = TokenBucket(RateLimit(10, 1), clock=lambda: now[0])
    assert (bucket.take(30), bucket.take(1)) == (0, pytest.approx(2.1))
    now[0] = 2.1
    assert bucket.take(1) == 0
