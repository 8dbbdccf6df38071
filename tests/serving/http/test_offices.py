"""A key that is bound to offices reaches only their consignments; faults name the key, and details need a key."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from support.examples import day, make_consignment, make_outcome
from support.linked_messages import write_house, write_master
from support.serving_examples import Client, bear, describe_key, publish, serving, settings_in

from consignments.errors import BadSetting
from serving.http.auth import Authenticator, TokenBucket
from serving.process.settings import RateLimit

SCOPES = ("score", "outcome", "read", "metrics")


def key(name: str, more: str = "") -> str:
    return describe_key(name, *SCOPES, more=more)


@pytest.fixture
def client(tmp_path: Path, bundle: Path) -> Iterator[Client]:
    publish(tmp_path, bundle, "1")
    keys, offices = tmp_path / "keys.toml", tmp_path / "offices.csv"
    bound = key("incheon", 'offices = ["Incheon"]\nperson = "K. Lee"')
    keys.write_text(key("all") + bound + key("both", 'offices = ["Incheon", "Gimpo"]'))
    offices.write_text("place,office\nPUS,Busan\nGMP,Gimpo\n")
    changes = {"NPSRISK_API_KEYS_FILE": str(keys), "NPSRISK_OFFICES_FILE": str(offices)}
    with serving(settings_in(tmp_path, **changes)) as opened:
        yield opened


def post(client: Client, name: str, path: str, body: Any) -> httpx.Response:
    return client.post(path, body, headers=bear(name))


def send(client: Client, name: str, body: bytes, office: str = "") -> dict[str, Any]:
    """Send messages in XML with a key, and with the header X-Office."""
    headers = {"content-type": "application/xml", "authorization": f"Bearer {name}"}
    headers |= {"x-office": office} if office else {}
    answer: dict[str, Any] = client.post("/v1/scores", body, headers=headers).json()
    return answer


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
    assert [get(client, "incheon", f"/v1/consignments/{name}").status_code for name in ("RB1", "RB2")] == [
        200,
        404,
    ]
    decisions = get(client, "incheon", "/v1/decisions").json()["decisions"]
    assert [each["consignment_id"] for each in decisions] == ["RB1", "RB1"]
    assert len(get(client, "all", "/v1/consignments/RB2").json()["decisions"]) == 1
    post(client, "all", "/v1/scores", make_consignment("RB4", office=None))
    found = post(client, "all", "/v1/selections", wanted | {"office": None}).json()
    assert [(each["consignment_id"], each["office"]) for each in found["selections"]] == [("RB4", None)]
    assert post(client, "all", "/v1/selections", wanted | {"office": None}).json() == found
    assert get(client, "incheon", "/v1/selections").json()["selections"] == []


@pytest.mark.parametrize(
    ("name", "query", "fields", "office"),
    [
        ("all", "?office=Busan", {"office": "Incheon"}, "Incheon"),
        ("both", "?office=Incheon", {"route": "PVG>GMP"}, "Incheon"),
        ("incheon", "", {"route": "PVG>PUS"}, "Incheon"),
        ("both", "", {"route": "PVG>GMP"}, "Gimpo"),
        ("all", "", {"route": "PVG>PUS"}, "Busan"),
        ("all", "", {"route": "PVG>CJU"}, None),
    ],
)
def test_the_office_is_the_consignments_the_requests_the_keys_or_that_of_its_destination(
    client: Client, name: str, query: str, fields: dict[str, Any], office: str | None
) -> None:
    c = make_consignment("RB1", **{"office": None, **fields})
    assert post(client, name, f"/v1/scores{query}", c).status_code == 200
    (decision,) = get(client, "all", "/v1/decisions").json()["decisions"]
    assert decision["office"] == office
    without = "npsrisk_without_office_total {}"
    assert without.format(float(office is None)) in get(client, "all", "/metrics").text


def test_an_office_stays_with_a_repeat_and_an_amendment(client: Client, tmp_path: Path) -> None:
    c = make_consignment("RB1", office=None, route="PVG>PUS")
    first = post(client, "all", "/v1/scores", c).json()
    (tmp_path / "offices.csv").write_text("place,office\nPUS,Gimpo\n")
    client.look()
    again = post(client, "all", "/v1/scores?office=Incheon", c).json()
    assert (again["decision_id"], again["repeated"]) == (first["decision_id"], True)
    post(client, "all", "/v1/scores?office=Incheon", msgspec.structs.replace(c, pieces=9.0))
    found = get(client, "all", "/v1/decisions").json()["decisions"]
    assert [each["office"] for each in found] == ["Busan", "Busan"]
    later = make_consignment("RB2", office=None, route="PVG>PUS")
    post(client, "all", "/v1/scores", later)
    assert get(client, "all", "/v1/decisions").json()["decisions"][-1]["office"] == "Gimpo"


def test_the_header_names_the_office_and_a_foreign_or_contradicting_one_is_refused(client: Client) -> None:
    c = make_consignment("RB1", office=None)

    def send(office: str, query: str = "") -> int:
        return client.post(f"/v1/scores{query}", c, headers=bear("both", x_office=office)).status_code

    assert [send("Busan"), send("Incheon", "?office=Gimpo"), send("x" * 101)] == [403, 422, 422]
    unnamed = post(client, "both", "/v1/scores", c)  # no place and no single office
    assert (unnamed.status_code, unnamed.json()["detail"].partition(":")[0]) == (403, "name an office")
    assert send("Incheon", "?office=Incheon") == 200
    assert get(client, "incheon", "/v1/consignments/RB1").status_code == 200


def test_a_house_withdraws_no_consolidation_of_another_office_without_its_key(
    client: Client,
) -> None:
    (master,) = send(client, "all", write_master(day(0)), "Busan")["scores"]
    told = send(client, "incheon", write_house(day(0)))
    (house,) = told["scores"]
    assert house["cancelled"] is False
    assert get(client, "incheon", f"/v1/consignments/{house['consignment_id']}").status_code == 200
    assert told["messages"]["notes"][0].startswith(f"{master['consignment_id']}: these messages concern it")
    scores = send(client, "all", write_house(day(0), name="WHX1"), "Busan")["scores"]
    assert [(each["consignment_id"], each["cancelled"]) for each in scores] == [
        (master["consignment_id"], True),
        (f"{master['consignment_id']}/WHX1", False),
    ]


def test_a_master_changes_no_house_of_other_offices_and_their_keys_still_do(
    client: Client,
) -> None:
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


@pytest.mark.parametrize(
    ("header", "status"),
    [("Bearer all", 200), ("bearer all", 200), ("Bearer wrong", 401), ("Bearer", 401), ("Basic all", 401)],
)
def test_a_key_is_sent_as_a_bearer_token(client: Client, header: str, status: int) -> None:
    assert client.get("/v1/decisions", headers={"authorization": header}).status_code == status


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (None, "No such file"),
        ("", "keys"),
        ("[[keys]]\nname = 'a'", "sha256"),
        (describe_key("k", "everything"), "everything"),
        (describe_key("k") + describe_key("k"), "twice"),
        (describe_key("k", more="expires_at = 2027-01-01T00:00:00"), "zone"),
        (describe_key("k").replace('"score"', ""), "scopes"),
        (describe_key("k", more="offices = []"), "offices"),
    ],
)
def test_a_bad_key_file_stops_the_start(tmp_path: Path, text: str | None, wrong: str) -> None:
    if text is not None:
        (tmp_path / "keys").write_text(text)
    with pytest.raises(BadSetting, match=rf"(?s)^NPSRISK_API_KEYS_FILE.*{wrong}"):
        Authenticator(tmp_path / "keys", None)


@pytest.mark.parametrize(
    ("rate", "taken", "wait"),
    [(RateLimit(2, 1), [1, 1], 0.5), (RateLimit(10, 1), [30], 2.1)],
    ids=["call by call", "a large call passes once and is paid for later"],
)
def test_a_bucket_gives_its_rate_and_no_more(rate: RateLimit, taken: list[int], wait: float) -> None:
    now = [0.0]
    bucket = TokenBucket(rate, clock=lambda: now[0])
    assert [bucket.take(records) for records in taken] == [0] * len(taken)
    assert bucket.take(1) == pytest.approx(wait)
    now[0] = wait
    assert bucket.take(1) == 0
