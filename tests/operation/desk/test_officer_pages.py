"""The pages for officers: who may see what, decisions and results, and everything hostile that a form or a text may hold."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from markupsafe import escape
from support.examples import day, make_consignment, make_outcome
from support.officer import Officer, read_text, read_token, serving_desk, write_keys
from support.serving_examples import Client, publish, settings_in

from consignments.errors import ServiceFault
from consignments.timestamps import to_datetime, to_us
from models.formats import format_score
from operation.desk.forms import FormFault, build_outcome
from operation.desk.messages import PageAnswer
from operation.desk.page_process import PageProcess
from operation.desk.pages import OfficerPages, check_path
from operation.desk.sessions import Sessions, format_cookie, read_cookie
from serving.event_log.event_codec import Action
from serving.event_log.reader import LogReader
from serving.maintenance.access_log import PersonalAccess, decode_access
from serving.scoring.intake import Intake, PendingReceipt
from serving.scoring.recording import OfficeFinder

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)>\u202egnp.exe'
LIST = "/?day=2024-03-04&office=Incheon"
SELECT = {
    "office": "Incheon", "capacity": 2, "explore": 0,
    "from": "2024-03-04T00:00:00Z", "until": "2024-03-05T00:00:00Z",
}  # fmt: skip


class Hour:
    """A clock that a test can set."""

    def __init__(self) -> None:
        self.now_us = to_us(day(20))

    def __call__(self) -> int:
        return self.now_us


HOUR = Hour()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    publish(folder, bundle, "1")
    write_keys(
        folder / "keys.toml",
        {"key": "all", "person": "K. Lee"},
        {"key": "reader", "scopes": ("read",)},
        {"key": "busan", "person": "J. Park", "offices": ("Busan",)},
        {"key": "old", "expires_at": "2024-03-01T00:00:00Z"},
        {"key": "blind", "scopes": ("score", "outcome")},
    )
    return folder


def open_service(state: Path) -> Any:
    return serving_desk(settings_in(state, NPSRISK_API_KEYS_FILE=str(state / "keys.toml")), HOUR)


@pytest.fixture(scope="module")
def client(state: Path) -> Iterator[Client]:
    with open_service(state) as opened:
        for name, changes in (
            ("RB1", {"description": "research chemical powder"}),
            ("RB2", {}),
            ("RB3", {"description": HOSTILE, "route": "<b>LHR", "sender_name": HOSTILE, "carrier": HOSTILE}),
            ("RB4", {"office": "Busan", "sender_phone": None, "sender_address": "1 Other Street"}),
            ("RB5", {"office": None, "received_at": day(-1)}),
            ("180-12345675/H 1?&#", {"channel": "air_cargo", "items": (), "office": "Incheon"}),
        ):
            body = make_consignment(name, **changes)
            assert opened.post("/v1/scores", body, headers=bearer("all")).status_code == 200
        yield opened


def bearer(key: str) -> dict[str, str]:
    return {"content-type": "application/json", "authorization": f"Bearer {key}"}


def score(client: Client, name: str, **changes: Any) -> None:
    assert (
        client.post("/v1/scores", make_consignment(name, **changes), headers=bearer("all")).status_code == 200
    )


def read_json(client: Client, path: str) -> Any:
    return client.get(path, headers=bearer("all")).json()


def enter(client: Client, key: str) -> Officer:
    person = Officer(client)
    person.sign_in(key)
    return person


@pytest.fixture
def officer(client: Client) -> Officer:
    HOUR.now_us = max(HOUR.now_us, to_us(day(20)))
    person = Officer(client)
    assert person.sign_in("all").status_code == 200
    return person


def test_without_a_session_every_page_leads_to_the_form_to_sign_in(client: Client) -> None:
    person = Officer(client)
    for path in ("/", "/consignment?id=RB1", "/links?id=RB1", "/draft?id=RB1", "/alerts", "/model", "/try"):
        page = person.get(path)
        assert (page.status_code, page.headers["location"].partition("?")[0]) == (303, "/login")
    assert person.get(page.headers["location"]).status_code == 200
    assert 'name="next" value="/try"' in person.page.text
    assert person.send("/login", key="all", next="/try").status_code == 200


def test_the_cookie_is_strict_and_the_pages_load_nothing_from_elsewhere(officer: Officer) -> None:
    cookie = Officer(officer.client).get("/login").headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    policy = officer.page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self';")
    assert "unsafe" not in policy
    for path in (
        LIST,
        "/consignment?id=RB1",
        "/links?id=RB1",
        "/draft?id=RB1",
        "/alerts",
        "/model",
        "/try",
        "/consignment?id=none",
    ):
        text = officer.get(path).text
        tags = "".join(re.findall(r"<[^>]*>", text))
        assert not re.search(r"<script|<style|\sstyle=|\son\w+=|https?://", tags), path
        assert re.findall(r'<link rel="stylesheet" href="([^"]*)"', text) == ["/style.css"]
    style = officer.get("/style.css")
    assert (style.status_code, style.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert "url(" not in style.text


def test_consignments_without_an_office_have_a_list_that_bound_keys_do_not_see(client: Client) -> None:
    shown = {}
    for key in ("all", "busan"):
        person = enter(client, key)
        shown[key] = read_text(person.get("/?day=2024-03-03&office=-"))
    assert "Consignments without an office on 2024-03-03" in shown["all"]
    assert "RB5" in shown["all"]
    assert "RB5" not in shown["busan"]


@pytest.mark.parametrize("key", ["wrong", "old", "blind", ""])
def test_a_key_that_is_unknown_or_expired_or_may_not_read_opens_nothing(client: Client, key: str) -> None:
    person = Officer(client)
    page = person.sign_in(key)
    assert page.status_code == 401
    assert "unknown or has expired" in read_text(page)
    assert person.get("/").status_code == 303


def test_a_session_ends_after_eight_hours(client: Client) -> None:
    person = enter(client, "all")
    start = HOUR.now_us
    HOUR.now_us = start + 8 * 3600 * 1_000_000 - 1
    assert person.get("/alerts").status_code == 200
    HOUR.now_us = start + 8 * 3600 * 1_000_000
    page = person.get("/alerts")
    assert page.status_code == 303
    assert "Your session has ended" in read_text(person.get(page.headers["location"]))


def test_a_key_that_is_removed_ends_its_sessions(state: Path, client: Client) -> None:
    person = enter(client, "reader")
    path, before = state / "keys.toml", (state / "keys.toml").read_text()
    blocks = before.split("\n[[keys]]")
    path.write_text("\n[[keys]]".join([blocks[0], *blocks[2:]]))
    client.look()
    assert person.get("/").status_code == 303
    path.write_text(before + "\n")
    client.look()
    assert person.get("/").status_code == 200


def test_a_cookie_that_was_changed_or_made_elsewhere_opens_nothing(client: Client, officer: Officer) -> None:
    good = officer.cookie or ""
    foreign = Sessions(HOUR).open(b"k" * 32, "K. Lee")
    for cookie in (good[:-4] + "AAAA", good[:40], "", "%%%", "ü", "A" * 5000, foreign):
        page = client.get("/", headers={"cookie": f"npsrisk_session={cookie}".encode()})
        assert page.status_code == 303, cookie
    assert (
        client.get("/", headers={"cookie": f"npsrisk_session={good}; npsrisk_session={good}"}).status_code
        == 303
    )
    assert read_cookie(b"a=b; npsrisk_session=x; c=d", secure=False) == "x"


def test_signing_in_gives_a_new_session_and_signing_out_needs_its_token(officer: Officer) -> None:
    before = officer.cookie
    assert officer.send("/logout", token="forged").status_code == 403
    officer.get("/try")
    page = officer.send("/logout")
    assert (page.status_code, officer.cookie != before) == (200, True)
    assert officer.get("/").status_code == 303
    copied = Officer(officer.client)
    copied.cookie = before
    assert copied.get("/").status_code == 303, "the session has ended on the server"


def test_the_form_to_sign_in_ends_no_session_and_may_be_open_twice(client: Client, officer: Officer) -> None:
    before = officer.cookie
    page = officer.get("/login?next=/try")
    assert (page.status_code, page.headers["location"], officer.cookie) == (303, "/try", before)
    first = Officer(client)
    page = first.get("/login")
    second = Officer(client)
    second.cookie = first.cookie
    second.get("/login")
    assert second.send("/login", key="all", next="/try").status_code == 200
    first.cookie, first.page = second.cookie, page
    assert first.send("/login", key="all", next="/try").status_code != 403


def test_a_form_without_the_token_of_its_session_changes_nothing(client: Client, officer: Officer) -> None:
    before = client.service.log.read_last_sequence()
    other = enter(client, "all")
    page = officer.get("/consignment?id=RB2")
    last = read_last(page)
    fields = {"form": "action", "id": "RB2", "last": last, "action": "request_information"}
    for token in ("", "x", read_token(other.page)):
        assert officer.send("/consignment", token=token, **fields).status_code == 403
    officer.get("/consignment?id=RB2")
    crossed = officer.send("/consignment", headers={"sec-fetch-site": "cross-site"}, **fields)
    assert crossed.status_code == 403
    json = client.post(
        "/consignment", {"id": "RB2"}, headers=bearer("all") | {"cookie": f"npsrisk_session={officer.cookie}"}
    )
    assert json.status_code == 415
    assert client.service.log.read_last_sequence() == before
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert client.post("/login", b"key=all", headers=headers).status_code == 403


def test_every_refusal_is_in_the_log_without_what_was_sent(
    client: Client, officer: Officer, capsys: pytest.CaptureFixture[str]
) -> None:
    officer.get("/alerts")
    Officer(client).sign_in("wrong Kim")
    officer.send("/consignment", form="action", id="Kim Min-su", token="forged")
    officer.get("/consignment?id=Kim+Min-su")
    HOUR.now_us += 8 * 3600 * 1_000_000
    officer.get("/consignment?id=RB1&person=Kim")
    found = [line for line in capsys.readouterr().out.splitlines() if "refused" in line]
    assert [re.findall(r"(?:call|status|person)=(\w+|'.*?')", line) for line in found] == [
        ["form_login", "401"],
        ["form_consignment", "'K. Lee'", "403"],
        ["page_consignment", "'K. Lee'", "404"],
        ["page_consignment", "303"],
    ]
    assert "Kim" not in "".join(found)


def test_the_log_has_the_whole_fault_that_a_page_shows_in_part(
    client: Client, officer: Officer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(*_: Any) -> None:
        raise ServiceFault("no disk", where="/etc/secret")

    monkeypatch.setattr(OfficerPages, "show", fail)
    page = officer.get("/alerts")
    assert (page.status_code, "/etc/secret" in page.text) == (503, False)
    assert "/etc/secret" in capsys.readouterr().out


@pytest.mark.parametrize(
    "body", [b"a", b"token=x&token=y", b"\xff=1", b"&" * 300 + b"a=1" * 300, b"a=%ff", b""]
)
def test_a_body_that_is_no_form_is_a_page_with_the_reason(officer: Officer, body: bytes) -> None:
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "cookie": f"npsrisk_session={officer.cookie}",
    }
    page = officer.client.post("/try", body, headers=headers)
    assert page.status_code in (400, 403)
    assert "<h1>" in page.text
    too_large = officer.client.post("/try", b"a=" + b"b" * 1_100_000, headers=headers)
    assert too_large.status_code == 413


def test_the_list_is_ranked_and_shows_goods_value_weight_and_reasons(officer: Officer) -> None:
    page = officer.get(LIST)
    names = re.findall(r'href="/consignment\?id=([^"&]+)', page.text)
    scores = [float(each) for each in re.findall(r'class="score">([\d.]+) %', page.text)]
    assert "RB1" in names
    assert "RB4" not in names
    assert scores == sorted(scores, reverse=True)
    text = read_text(page)
    for shown in ("Incheon, 2024-03-04", "research chemical powder", "34 GBP", "0.6 kg", "LHR>ICN"):
        assert shown in text
    first = re.search(r'<td role="cell" class="reasons".*?</td>', page.text, re.DOTALL)
    assert first is not None
    assert "Orchid" not in page.text
    assert 'class="reason"' in first[0] or "none recorded" in first[0]
    shown = re.search(r'class="score">([\d.]+ %)', page.text)
    assert shown is not None
    assert shown[1] in read_text(officer.get(f"/consignment?id={names[0]}")), (
        "the list and the page round alike"
    )


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("channel=air_cargo", ["180-12345675/H 1?&#"]),
        ("route=%3Cb%3ELHR", ["RB3"]),
        ("channel=air_cargo&route=%3Cb%3ELHR", []),
        ("family=nitazene", []),
        ("state=cancelled", []),
    ],
)
def test_filters_narrow_the_list(officer: Officer, query: str, shown: list[str]) -> None:
    page = officer.get(f"{LIST}&{query}")
    assert page.status_code == 200
    rows = re.findall(r'<th scope="row"[^>]*><a [^>]*>([^<]*)</a>', page.text)
    assert [each.replace("&amp;", "&") for each in rows] == shown
    if not shown:
        assert "No consignment matches these filters" in read_text(page)


def test_an_empty_day_names_the_latest_day_with_consignments(officer: Officer) -> None:
    page = officer.get("/")
    assert "No consignment was scored for your offices on this day" in read_text(page)
    assert 'href="/?day=2024-03-04"' in page.text
    for query in (
        "day=tomorrow",
        "day=0000-00-00",
        "day=9999-12-31",
        "page=0",
        "page=x",
        "capacity=-1",
        "office=none",
    ):
        assert officer.get(f"/?{query}").status_code == 200
    assert officer.get("/?color=red").status_code == 422


def test_hostile_texts_are_shown_as_texts(officer: Officer) -> None:
    for path in (LIST, "/consignment?id=RB3", "/consignment?id=RB3&personal=1"):
        page = officer.get(path)
        assert page.status_code == 200
        assert "<script" not in page.text
        assert "<img" not in page.text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
        assert "\u202e" not in page.text
        assert "[U+202E]gnp.exe" in page.text
    page = officer.get("/consignment?id=%22%3E%3Cscript%3E")
    assert (page.status_code, "<script" in page.text) == (404, False)


def test_an_identifier_with_any_characters_has_its_page(officer: Officer) -> None:
    link = re.search(r'href="(/consignment\?id=180[^"]+)"', officer.get(LIST).text)
    assert link is not None
    assert "180-12345675/H 1?&#" in read_text(officer.get(link[1].replace("&amp;", "&")))


def test_personal_fields_need_the_scope_and_every_look_is_recorded(
    state: Path, client: Client, officer: Officer
) -> None:
    def list_looks() -> list[PersonalAccess]:
        with LogReader.open_to_read(client.service.settings.database_url) as log:
            return [decode_access(event) for event in log.read_events(kinds=("access",))]

    before = len(list_looks())
    assert "Orchid Trading" not in officer.get("/consignment?id=RB2").text
    assert len(list_looks()) == before
    assert "Orchid Trading Ltd" in officer.get("/consignment?id=RB2&personal=1").text
    entry = list_looks()[before]
    assert (entry.person, entry.consignment_id, entry.command) == ("K. Lee", "RB2", "page consignment")
    reader = enter(client, "reader")
    assert "Orchid Trading" not in reader.get("/consignment?id=RB2&personal=1").text
    assert "lacks the scope personal" in read_text(reader.page)
    assert officer.get("/consignment?id=none&personal=1").status_code == 404
    assert len(list_looks()) == before + 1
    assert not (state / "access.jsonl").exists()


def test_a_key_of_an_office_sees_and_decides_only_there(client: Client) -> None:
    person = enter(client, "busan")
    page = person.get("/?day=2024-03-04&office=Incheon")
    assert "Busan, 2024-03-04" in read_text(page)
    assert "RB1" not in page.text
    assert person.get("/consignment?id=RB4").status_code == 200
    sent = {"form": "action", "id": "RB1", "last": "99999", "action": "inspect", "reason": "r"}
    assert person.send("/consignment", **sent).status_code == 404
    assert person.get("/consignment?id=RB1").status_code == 404
    links = person.get_until("/links?id=RB4", "<svg")
    assert "RB2" not in links.text
    assert "a consignment of another office" in links.text


def test_a_reader_sees_why_it_cannot_decide(client: Client) -> None:
    person = enter(client, "reader")
    text = read_text(person.get("/consignment?id=RB1"))
    assert "lacks the scope act" in text
    assert "lacks the scope outcome" in text
    for form in ("action", "outcome"):
        page = person.send("/consignment", form=form, id="RB1", last="9", action="inspect")
        assert page.status_code == 403
        person.get("/consignment?id=RB1")
    assert "lacks the scope score" in read_text(person.get("/try"))
    assert person.send("/try", form="fields").status_code == 403


def read_last(page: httpx.Response) -> str:
    found = re.search(r'name="last" value="(\d+)"', page.text)
    assert found is not None
    return found[1]


def decide(officer: Officer, name: str, action: str, reason: str = "", **further: str) -> Any:
    last = read_last(officer.get(f"/consignment?id={name}"))
    return officer.send(
        "/consignment", form="action", id=name, last=last, action=action, reason=reason, **further
    )


def test_a_decision_is_in_the_log_with_who_and_why(client: Client, officer: Officer) -> None:
    score(client, "RB30")
    assert decide(officer, "RB30", "request_information", "value & goods <differ>").status_code == 200
    assert decide(officer, "RB30", "release", "opened by mistake").status_code == 200
    assert "released" in read_text(officer.get(LIST))
    text = read_text(officer.get("/consignment?id=RB30"))
    for shown in (
        "Request information",
        "value & goods <differ>",
        "by K. Lee",
        "Release",
        "opened by mistake",
    ):
        assert shown in text
    given = read_json(client, "/v1/consignments/RB30")["actions"]
    assert [(each["action"], each["by"]) for each in given] == [
        ("request_information", "K. Lee"), ("release", "K. Lee"),
    ]  # fmt: skip


def test_an_override_asks_for_its_reason_and_says_so_in_the_history(client: Client, officer: Officer) -> None:
    score(client, "RB7", office="Jeju")
    wanted = SELECT | {"office": "Jeju"}
    assert len(client.post("/v1/selections", wanted, headers=bearer("all")).json()["selections"]) == 1
    page = decide(officer, "RB7", "release", "   ")
    assert page.status_code == 422
    assert "Give the reason" in read_text(page)
    assert 'aria-invalid="true" autofocus' in page.text
    assert decide(officer, "RB7", "release", "known sender").status_code == 200
    assert "overrides the proposal: The score proposes to inspect" in read_text(officer.page)
    assert decide(officer, "RB7", "").status_code == 422
    assert decide(officer, "RB7", "burn").status_code == 422


def test_a_decision_on_an_old_page_is_shown_again(client: Client, officer: Officer) -> None:
    score(client, "RB8")
    last = re.search(r'name="last" value="(\d+)"', officer.get("/consignment?id=RB8").text)[1]  # type: ignore[index]
    client.post(
        "/v1/actions",
        {"consignment_id": "RB8", "action": "do_not_load", "reason": "r"},
        headers=bearer("all"),
    )
    page = officer.send(
        "/consignment", form="action", id="RB8", last=last, action="request_screening", reason="mine"
    )
    assert page.status_code == 409
    text = read_text(page)
    assert "Something new was recorded" in text
    assert "Do not load" in text
    assert ">mine</textarea>" in page.text
    again = officer.send(
        "/consignment", form="action", id="RB8", action="request_screening",
        last=re.search(r'name="last" value="(\d+)"', page.text)[1],  # type: ignore[index]
    )  # fmt: skip
    assert again.status_code == 200


def test_a_decision_of_another_officer_that_comes_while_this_one_is_checked_counts_as_new(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    score(client, "RB41", office="Busan")
    person, active, record = Officer(client), client.service.active, Intake.record_action
    person.sign_in("busan")

    async def wait_while_another_decides(*_: Any) -> bool:
        action = Action("RB41", "do_not_load", reason="r", by="K. Lee", acted_at=day(19))
        assert isinstance(record(active.intake, action, HOUR(), "all"), PendingReceipt)
        return False

    monkeypatch.setattr(OfficeFinder, "is_foreign", wait_while_another_decides)
    page = decide(person, "RB41", "request_screening")
    assert page.status_code == 409
    assert "Do not load" in read_text(page)


def test_a_consignment_that_is_not_on_disk_yet_can_be_decided(
    client: Client, officer: Officer, monkeypatch: pytest.MonkeyPatch
) -> None:
    score(client, "RB42")
    waiting = client.service.log.read_consignment_events("RB42")
    monkeypatch.setattr(client.service.active.committer, "list_pending", lambda: waiting)
    monkeypatch.setattr(client.service.log, "read_consignment_events", lambda *_: [])
    assert decide(officer, "RB42", "request_screening").status_code == 200
    sent = {"form": "action", "id": "RB42", "last": "9" * 5_000, "action": "inspect"}
    assert officer.send("/consignment", **sent).status_code == 409


def test_a_result_goes_the_way_of_the_interface(client: Client, officer: Officer) -> None:
    score(client, "RB9")
    sent = {
        "form": "outcome", "id": "RB9", "result": "nps",
        "inspected_at": "2024-03-05T10:00", "substance": "4-CMC", "substance_family": "cathinone", "quantity_g": "12,5",
        "concealment": "",
    }  # fmt: skip
    sent["last"] = read_last(officer.get("/consignment?id=RB9"))
    for wrong in (
        {"result": ""},
        {"quantity_g": "much"},
        {"inspected_at": "now"},
        {"inspected_at": "2999-01-01T00:00"},
        {"result": "x"},
    ):
        page = officer.send("/consignment", **(sent | wrong))
        assert page.status_code == 422
        assert 'value="4-CMC"' in page.text
    page = officer.send("/consignment", **sent)
    assert page.status_code == 200
    assert "4-CMC, 12.5 g" in read_text(page)
    (told,) = read_json(client, "/v1/consignments/RB9")["outcomes"]
    assert (told["result"], told["substance"], told["quantity_g"], told["office"]) == (
        "nps",
        "4-CMC",
        12.5,
        "Incheon",
    )
    assert "NPS found" in read_text(officer.get(f"{LIST}&family=cathinone"))
    assert officer.send("/consignment", form="outcome", id="UNKNOWN").status_code == 404
    missed = build_outcome(sent | {"result": "missed", "selected_by": "model"}, None, 0)
    assert (missed.status, missed.result, missed.substance) == ("missed", None, None)
    with pytest.raises(FormFault):
        build_outcome(sent | {"quantity_g": "inf"}, None, 0)


def test_after_an_act_the_page_says_what_was_recorded_and_offers_the_next_one(
    client: Client, officer: Officer
) -> None:
    for name, goods in (("RB51", "research chemical powder"), ("RB52", "books"), ("RB53", "books")):
        c = make_consignment(name, description=goods, office="Gimhae", received_at=day(2))
        client.post("/v1/scores", c, headers=bearer("all"))
    place = "day=2024-03-06&office=Gimhae"
    names = re.findall(r'href="/consignment\?id=(RB5\d)', officer.get(f"/?{place}").text)
    first, second, last = names
    opened = officer.get(
        re.findall(r'href="(/consignment[^"]+)"', officer.page.text)[0].replace("&amp;", "&")
    )
    assert opened.text.count('name="go" value="1" checked') == 2, (
        "from the list, the next one is what follows"
    )
    page = decide(officer, first, "request_screening", list=place)
    top = read_text(page).partition("Decide")[0]
    now = to_datetime(HOUR.now_us)
    assert f"Recorded for {first} : Request screening . By K. Lee, {now:%Y-%m-%d %H:%M}." in top
    assert "screening requested" in top, "the state"
    assert f"id={second}&amp;list=" in page.text
    page = decide(officer, second, "request_screening", list=place, go="1", next=last)
    assert f"Recorded for {second}" in read_text(page)
    assert f'<h1 class="id">{last}</h1>' in page.text
    assert "Next on the list" not in read_text(page).partition("Decide")[0]
    assert f'href="/?{place.replace("&", "&amp;")}&amp;page=1#r3"' in page.text


def test_no_result_is_chosen_beforehand_and_a_second_click_records_nothing(
    client: Client, officer: Officer
) -> None:
    score(client, "RB54")
    score(client, "RB55", description="research chemical powder")
    page = officer.get("/consignment?id=RB54")
    form = page.text.partition('name="form" value="outcome"')[2].partition("</form>")[0]
    assert not re.search(r'type="radio"[^>]*checked|<option[^>]*selected', form)
    sent = {"form": "outcome", "id": "RB54", "last": read_last(page), "inspected_at": "2024-03-05T10:00"}
    assert officer.send("/consignment", **sent).status_code == 422
    for _ in range(2):
        page = officer.send("/consignment", **sent, result="clear")
        assert page.status_code == 200
        assert "Recorded for RB54 : nothing found" in read_text(page)
    assert officer.send("/consignment", **sent, result="nps").status_code == 409, (
        "another result is no repeat"
    )
    bands = {name: read_json(client, f"/v1/consignments/{name}") for name in ("RB54", "RB55")}
    assert len(bands["RB54"]["outcomes"]) == 1
    last = read_last(officer.get("/consignment?id=RB55"))
    officer.send(
        "/consignment", form="outcome", id="RB55", last=last, result="clear", inspected_at="2024-03-05T10:00"
    )
    for name in ("RB54", "RB55"):
        (outcome,) = read_json(client, f"/v1/consignments/{name}")["outcomes"]
        high = bands[name]["decisions"][-1]["band"] == "high"
        assert outcome["selected_by"] == ("model" if high else "officer")


def test_history_has_the_time_at_which_it_was_scored_and_words_for_codes(
    client: Client, officer: Officer
) -> None:
    score(client, "RB56", received_at=day(-3), service="small_packet", nature="sale", payment="crypto")
    page = officer.get("/consignment?id=RB56")
    history = read_text(page).partition("History")[2].partition("Data")[0]
    assert history.split()[0] == f"{to_datetime(HOUR.now_us):%Y-%m-%d}"
    assert "received 2024-03-01" in history
    for shown in ("small packet", "sale of goods", "in a cryptocurrency"):
        assert shown in read_text(page)
    assert "small_packet" not in page.text
    assert "log-odds" not in page.text


def test_families_and_substances_come_from_lists_and_partners_are_told_only_with_a_name(
    client: Client, officer: Officer
) -> None:
    score(client, "RB57")
    client.post("/v1/outcomes", make_outcome("RB57", result="nps"), headers=bearer("all"))
    page = officer.get("/consignment?id=RB57")
    assert '<option value="nitazene">nitazenes</option>' in page.text
    assert '<option value="4-CMC"></option>' in page.text
    assert "/draft" not in page.text, "this installation has no name among partners"
    assert "NPSRISK_" not in officer.get("/draft?id=RB57").text


def test_the_list_names_consignments_without_an_office_and_separates_reasons(
    client: Client, officer: Officer
) -> None:
    score(client, "RB58", received_at=day(-1), office="Gimhae", description="research chemical powder")
    page = officer.get("/?day=2024-03-03&office=Gimhae")
    assert "Consignments of this day that name no office: 1." in read_text(page)
    assert 'href="/?day=2024-03-03&amp;office=-"' in page.text
    assert "Consignments: 1 scored, 1 shown" in read_text(page)
    assert 'class="reasons"' in page.text
    assert re.search(r'class="reasons"[^>]*><ul><li>|none recorded', page.text)


@pytest.mark.parametrize("field", ["sender_country", "departure_country"])
def test_a_country_in_words_is_refused_with_a_hint(officer: Officer, field: str) -> None:
    assert "Two letters, for example CN" in read_text(officer.get("/try"))
    page = officer.send("/try", form="fields", channel="postal", **{field: "China"})
    assert (page.status_code, "two letters, for example CN" in read_text(page)) == (422, True)


def test_a_page_that_is_being_prepared_comes_again_by_itself(
    officer: Officer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def prepare(*_: Any) -> PageAnswer:
        return PageAnswer(200, b"", preparing=True)

    monkeypatch.setattr(PageProcess, "render", prepare)
    assert officer.get("/hunt?id=RB1").headers["refresh"] == "2"


def test_with_tls_the_cookie_is_that_of_this_host_alone() -> None:
    header = format_cookie("x", 60, secure=True)
    assert header.startswith("__Host-npsrisk_session=x; Path=/; ")
    assert header.endswith("; Secure")
    assert read_cookie(b"__Host-npsrisk_session=x", secure=True) == "x"
    assert read_cookie(b"npsrisk_session=x", secure=True) is None


def test_a_trial_is_scored_as_the_service_would_and_leaves_no_trace(client: Client, officer: Officer) -> None:
    before = client.service.log.read_last_sequence()
    c = make_consignment("TRY1", received_at=None)
    names = (
        "channel",
        "description",
        "office",
        "sender_name",
        "sender_address",
        "sender_city",
        "sender_country",
        "sender_phone",
    )
    fields = {"consignment_id": "TRY1"} | {name: getattr(c, name) for name in names}
    officer.get("/try")
    pages = [officer.send("/try", form="fields", gross_weight_kg="0,6", **fields) for _ in range(2)]
    assert [page.status_code for page in pages] == [200, 200]
    tried = [re.search(r'class="score">([^<]+)<', page.text)[1] for page in pages]  # type: ignore[index]
    assert client.service.log.read_last_sequence() == before
    body = {**fields, "gross_weight_kg": 0.6}
    scored = client.post("/v1/scores", body, headers=bearer("all")).json()["score"]
    assert tried == [str(escape(format_score(scored)))] * 2
    assert "Trial: not recorded" in read_text(pages[0])
    assert officer.send("/try", form="fields", channel="sea").status_code == 422
    assert officer.send("/try", form="fields", channel="postal", gross_weight_kg="heavy").status_code == 422


def test_a_pasted_message_is_read_and_scored(officer: Officer) -> None:
    root = Path(__file__).parents[3]
    messages, broken = root / "docs" / "samples", root / "tests" / "messages"
    officer.get("/try")
    for name in ("xfzb_house.xml", "fhl_houses.txt"):
        page = officer.send("/try", form="message", message=(messages / name).read_text())
        assert page.status_code == 200, read_text(page)
        assert "Trial: not recorded" in read_text(page)
    for name in ("xfzb_bomb.xml", "xfzb_cut.xml"):
        page = officer.send("/try", form="message", message=(broken / name).read_text())
        assert page.status_code in (200, 422)
        assert "cannot be scored" in read_text(page)
    assert officer.send("/try", form="message", message="hello").status_code in (200, 422)


def test_alerts_show_their_yield_and_hide_parties(client: Client, officer: Officer) -> None:
    alert = {
        "alert_id": "A-1", "issued_at": "2024-03-01T00:00:00Z", "text": HOSTILE, "sender_name": "Orchid Trading Ltd",
        "description_pattern": "ketone*",
    }  # fmt: skip
    assert client.post("/v1/alerts", alert, headers=bearer("all")).status_code == 200
    for name, result in (("RB20", "nps"), ("RB21", "clear"), ("RB22", None)):
        score(client, name, description="ketones")
        if result:
            client.post("/v1/outcomes", make_outcome(name, result=result), headers=bearer("all"))
    page = officer.get_until("/alerts", ">2</td>")
    cells = re.findall(r'class="number" data-label="[^"]+">([^<]+)<', page.text)
    assert cells == ["3", "2", "1", "50.0 %"]
    assert "Orchid" not in page.text
    assert "sender: hidden" in re.sub(r"\s+", " ", read_text(page))
    assert "Orchid Trading Ltd" in officer.get("/alerts?personal=1").text
    assert "<script" not in page.text


def test_the_model_page_says_what_scores_with_the_figures_of_the_promotion_record(officer: Officer) -> None:
    text = read_text(officer.get("/model"))
    for shown in ("nps-risk/1", "2024-04-01", "Area under the ROC curve", "new psychoactive substances"):
        assert shown in text
    assert "Known detections: 41, among arrivals from 2024-01-01 until before 2024-03-01. " in text
    assert "Within the capacity of 2 a day in each office: 12. In the highest 1 % of scores: 20." in text
    assert "45.3 %" in text
    assert "38.0 % to 53.0 %" in text
    assert "too few results: 4 known, about 60 more needed" in text


def test_linked_consignments_are_drawn_and_listed(officer: Officer) -> None:
    page = officer.get_until("/links?id=RB1", "<svg")
    assert "<svg" in page.text
    assert "phone (with no. 1)" in read_text(page)


def test_only_paths_of_the_service_are_returned_to() -> None:
    given = [
        "/alerts",
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "javascript:1",
        "",
        "/a\r\nx: y",
        "/ü",
    ]
    assert [check_path(path) for path in given] == ["/alerts", *["/"] * 7]
