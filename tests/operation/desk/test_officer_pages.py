"""The pages for officers: who may see what, decisions and results, and everything hostile that a form or a text may hold."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from markupsafe import escape
from support.examples import day, make_consignment, make_outcome
from support.messages import BROKEN, MESSAGES
from support.officer import (
    FORM_HEADERS,
    Officer,
    enter,
    read_last,
    read_text,
    read_token,
    serving_desk,
    write_keys,
)
from support.serving_examples import Client, SetClock, bear, settings_in
from support.site import Site, entries

from consignments.errors import ServiceFault
from consignments.timestamps import to_datetime, to_us
from models.formats import format_score
from operation.desk.forms import build_outcome
from operation.desk.messages import PageAnswer
from operation.desk.page_process import PageProcess
from operation.desk.pages import OfficerPages, check_path
from operation.desk.sessions import Sessions, format_cookie, read_cookie
from serving.maintenance.access_log import PersonalAccess, decode_access

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)>\u202egnp.exe'
LIST = "/?day=2024-03-04&office=Incheon"
SELECT = {
    "office": "Incheon", "capacity": 2, "explore": 0,
    "from": "2024-03-04T00:00:00Z", "until": "2024-03-05T00:00:00Z",
}  # fmt: skip
HOUR = SetClock()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Path:
    folder = Site(tmp_path_factory.mktemp("pages"), bundle).folder
    write_keys(
        folder / "keys.toml",
        {"key": "all", "person": "K. Lee"},
        {"key": "reader", "scopes": ("read",)},
        {"key": "busan", "person": "J. Park", "offices": ("Busan",)},
        {"key": "old", "expires_at": "2024-03-01T00:00:00Z"},
        {"key": "blind", "scopes": ("score", "outcome")},
    )
    return folder


@pytest.fixture(scope="module")
def client(state: Path, pages_here: None) -> Iterator[Client]:
    with serving_desk(settings_in(state, NPSRISK_API_KEYS_FILE=str(state / "keys.toml")), HOUR) as opened:
        score(opened, "RB1", description="research chemical powder")
        score(opened, "RB2")
        score(opened, "RB3", description=HOSTILE, route="<b>LHR", sender_name=HOSTILE, carrier=HOSTILE)
        score(opened, "RB4", office="Busan", sender_phone=None, sender_address="1 Other Street")
        score(opened, "RB5", office=None, received_at=day(-1))
        score(opened, "RB6", office="Gimhae", received_at=day(-1), description="research chemical powder")
        score(opened, "180-12345675/H 1?&#", channel="air_cargo", items=(), office="Incheon")
        yield opened


def send(client: Client, path: str, body: Any) -> dict[str, Any]:
    return client.send(path, body, headers=bear("all"))


def score(client: Client, name: str, **changes: Any) -> dict[str, Any]:
    return send(client, "/v1/scores", make_consignment(name, **changes))


def read_json(client: Client, path: str) -> Any:
    return client.get(path, headers=bear("all")).json()


@pytest.fixture
def officer(client: Client) -> Officer:
    HOUR.now_us = max(HOUR.now_us, to_us(day(20)))
    person = Officer(client)
    assert person.sign_in("all").status_code == 200
    return person


def test_without_a_session_every_page_leads_to_the_form_to_sign_in(client: Client) -> None:
    person = Officer(client)
    one = ["consignment?id=RB1", "links?id=RB1", "draft?id=RB1"]
    for path in ("", *one, "alerts", "model", "try"):
        page = person.get(f"/{path}")
        assert (page.status_code, page.headers["location"].partition("?")[0]) == (303, "/login")
    assert person.get(page.headers["location"]).status_code == 200
    assert 'name="next" value="/try"' in person.page.text
    assert person.send("/login", key="all", next="/try").status_code == 200


def test_the_cookie_is_strict_and_the_pages_load_nothing_from_elsewhere(officer: Officer) -> None:
    cookie = Officer(officer.client).get("/login").headers["set-cookie"]
    assert ("HttpOnly" in cookie, "SameSite=Strict" in cookie) == (True, True)
    of_host = format_cookie("x", 60, secure=True)
    assert re.fullmatch(r"__Host-npsrisk_session=x; Path=/; .*; Secure", of_host), "with TLS, of one host"
    read = (("__Host-npsrisk", True, "x"), ("npsrisk", True, None), ("a=b; npsrisk", False, "x"))
    for name, secure, found in read:
        assert read_cookie(f"{name}_session=x; c=d".encode(), secure=secure) == found
    policy = officer.page.headers["content-security-policy"]
    assert (policy.startswith("default-src 'none'; style-src 'self';"), "unsafe" in policy) == (True, False)
    one = [f"/{page}?id=RB1" for page in ("consignment", "links", "draft")]
    for path in (LIST, *one, "/alerts", "/model", "/try", "/consignment?id=none"):
        text = officer.get(path).text
        tags = "".join(re.findall(r"<[^>]*>", text))
        assert not re.search(r"<script|<style|\sstyle=|\son\w+=|https?://", tags), path
        assert re.findall(r'<link rel="stylesheet" href="([^"]*)"', text) == ["/style.css"]
    style = officer.get("/style.css")
    assert (style.status_code, style.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert "url(" not in style.text


@pytest.mark.parametrize("key", ["wrong", "old", "blind", ""])
def test_a_key_that_is_unknown_or_expired_or_may_not_read_opens_nothing(client: Client, key: str) -> None:
    person = Officer(client)
    page = person.sign_in(key)
    assert (page.status_code, "unknown or has expired" in read_text(page)) == (401, True)
    assert person.get("/").status_code == 303


def test_a_session_ends_after_eight_hours_or_with_its_key(state: Path, client: Client) -> None:
    person = enter(client, "all")
    for us, status in ((8 * 3600 * 1_000_000 - 1, 200), (1, 303)):
        HOUR.now_us += us
        page = person.get("/alerts")
        assert page.status_code == status
    assert "Your session has ended" in read_text(person.get(page.headers["location"]))
    person = enter(client, "reader")
    path, before = state / "keys.toml", (state / "keys.toml").read_text()
    blocks = before.split("\n[[keys]]")
    for text, status in (("\n[[keys]]".join([blocks[0], *blocks[2:]]), 303), (before + "\n", 200)):
        path.write_text(text)
        client.look()
        assert person.get("/").status_code == status


def test_a_cookie_that_was_changed_or_made_elsewhere_opens_nothing(client: Client, officer: Officer) -> None:
    good, foreign = officer.cookie or "", Sessions(HOUR).open(b"k" * 32, "K. Lee")
    changed = (good[:-4] + "AAAA", good[:40], "", "%%%", "ü", "A" * 5000, f"{good}; npsrisk_session={good}")
    for cookie in (*changed, foreign):
        page = client.get("/", headers={"cookie": f"npsrisk_session={cookie}".encode()})
        assert page.status_code == 303, cookie


def test_signing_out_needs_its_token_and_two_sessions_may_be_open(client: Client, officer: Officer) -> None:
    before = officer.cookie
    page = officer.get("/login?next=/try")
    assert (page.status_code, page.headers["location"], officer.cookie) == (303, "/try", before)
    assert officer.send("/logout", token="forged").status_code == 403
    officer.get("/try")
    assert (officer.send("/logout").status_code, officer.cookie != before) == (200, True)
    copied = Officer(client)
    copied.cookie = before
    ended = [person.get("/").status_code for person in (officer, copied)]
    assert ended == [303] * 2, "it has ended on the server"
    first, second = Officer(client), Officer(client)
    page = first.get("/login")
    second.cookie = first.cookie
    second.get("/login")
    assert second.send("/login", key="all", next="/try").status_code == 200
    first.cookie, first.page = second.cookie, page
    assert first.send("/login", key="all", next="/try").status_code != 403


def test_a_form_without_the_token_of_its_session_changes_nothing(client: Client, officer: Officer) -> None:
    before = client.service.log.read_last_sequence()
    other = enter(client, "all")
    last = read_last(officer.get("/consignment?id=RB2"))
    fields = {"form": "action", "id": "RB2", "last": last, "action": "request_information"}
    for token in ("", "x", read_token(other.page)):
        assert officer.send("/consignment", token=token, **fields).status_code == 403
    officer.get("/consignment?id=RB2")
    crossed = officer.send("/consignment", headers={"sec-fetch-site": "cross-site"}, **fields)
    assert crossed.status_code == 403
    cookie = {"cookie": f"npsrisk_session={officer.cookie}"}
    assert client.post("/consignment", {"id": "RB2"}, headers=bear("all") | cookie).status_code == 415
    assert client.service.log.read_last_sequence() == before
    assert client.post("/login", b"key=all", headers=FORM_HEADERS).status_code == 403


def test_every_refusal_is_in_the_log_without_what_was_sent_and_a_fault_as_a_whole(
    client: Client, officer: Officer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(*_: Any) -> None:
        raise ServiceFault("no disk", where="/etc/secret")

    officer.get("/alerts")
    with monkeypatch.context() as broken:
        broken.setattr(OfficerPages, "show", fail)
        page = officer.get("/alerts")
    assert (page.status_code, "/etc/secret" in page.text) == (503, False)
    assert "/etc/secret" in capsys.readouterr().out
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


def test_a_bad_form_is_a_page_with_the_reason(officer: Officer) -> None:
    headers = FORM_HEADERS | {"cookie": f"npsrisk_session={officer.cookie}"}
    bad = (b"a", b"token=x&token=y", b"\xff=1", b"&" * 300 + b"a=1" * 300, b"a=%ff", b"")
    for body, statuses in (*((each, (400, 403)) for each in bad), (b"a=" + b"b" * 1_100_000, (413,))):
        page = officer.client.post("/try", body, headers=headers)
        assert (page.status_code in statuses, "<h1>" in page.text) == (True, True), body[:20]


def test_the_list_is_ranked_and_shows_goods_value_weight_and_reasons(officer: Officer) -> None:
    page = officer.get(LIST)
    names = re.findall(r'href="/consignment\?id=([^"&]+)', page.text)
    scores = re.findall(r'class="score">([\d.]+ %)', page.text)
    assert ("RB1" in names, "RB4" in names) == (True, False)
    assert scores == sorted(scores, key=lambda each: -float(each.split()[0]))
    text = read_text(page)
    for shown in ("Incheon, 2024-03-04", "research chemical powder", "34 GBP", "0.6 kg", "LHR>ICN"):
        assert shown in text
    assert "Orchid" not in page.text
    assert re.search(r'class="reasons"[^>]*><ul><li>|none recorded', page.text)
    same = scores[0] in read_text(officer.get(f"/consignment?id={names[0]}"))
    assert same, "the list and the page round alike"
    link = re.search(r'href="(/consignment\?id=180[^"]+)"', page.text)
    assert "180-12345675/H 1?&#" in read_text(officer.get(link[1].replace("&amp;", "&")))


FILTERS: dict[str, list[str]] = {
    "channel=air_cargo": ["180-12345675/H 1?&#"],
    "route=%3Cb%3ELHR": ["RB3"],
    "channel=air_cargo&route=%3Cb%3ELHR": [],
    "family=nitazene": [],
    "state=cancelled": [],
}


@pytest.mark.parametrize("query", FILTERS)
def test_filters_narrow_the_list(officer: Officer, query: str) -> None:
    page = officer.get(f"{LIST}&{query}")
    rows = re.findall(r'<th scope="row"[^>]*><a [^>]*>([^<]*)</a>', page.text)
    assert [each.replace("&amp;", "&") for each in rows] == FILTERS[query]
    assert ("No consignment matches these filters" in read_text(page)) == (not rows)


def test_an_empty_day_names_the_latest_day_with_consignments(officer: Officer) -> None:
    page = officer.get("/")
    assert "No consignment was scored for your offices on this day" in read_text(page)
    assert 'href="/?day=2024-03-04"' in page.text
    for query in ("day=tomorrow", "day=0000-00-00", "day=9999-12-31", "page=0", "page=x", "capacity=-1"):
        assert officer.get(f"/?{query}").status_code == 200
    assert [officer.get(f"/?{query}").status_code for query in ("office=none", "color=red")] == [200, 422]


def test_consignments_without_an_office_have_a_list_that_is_named_and_that_bound_keys_do_not_see(
    client: Client, officer: Officer
) -> None:
    page = officer.get("/?day=2024-03-03&office=Gimhae")
    assert "Consignments of this day that name no office: 1." in read_text(page)
    assert "Consignments: 1 scored, 1 shown" in read_text(page)
    assert 'href="/?day=2024-03-03&amp;office=-"' in page.text
    for person, is_shown in ((officer, True), (enter(client, "busan"), False)):
        text = read_text(person.get("/?day=2024-03-03&office=-"))
        assert ("Consignments without an office on 2024-03-03" in text, "RB5" in text) == (is_shown, is_shown)


def test_hostile_texts_are_shown_as_texts(officer: Officer) -> None:
    for path in (LIST, "/consignment?id=RB3", "/consignment?id=RB3&personal=1"):
        page = officer.get(path)
        assert page.status_code == 200
        assert [bad for bad in ("<script", "<img", "\u202e") if bad in page.text] == []
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
        assert "[U+202E]gnp.exe" in page.text
    page = officer.get("/consignment?id=%22%3E%3Cscript%3E")
    assert (page.status_code, "<script" in page.text) == (404, False)


def test_personal_fields_need_a_scope_and_a_record(state: Path, client: Client, officer: Officer) -> None:
    def list_looks() -> list[PersonalAccess]:
        return [decode_access(event) for event in entries(state, "access")]  # type: ignore[arg-type]

    before, reader = len(list_looks()), enter(client, "reader")
    asked = ((officer, "", False), (officer, "&personal=1", True), (reader, "&personal=1", False))
    for person, query, is_shown in asked:
        assert ("Orchid Trading Ltd" in person.get(f"/consignment?id=RB2{query}").text) == is_shown
    assert "lacks the scope personal" in read_text(reader.page)
    assert officer.get("/consignment?id=none&personal=1").status_code == 404
    (entry,) = list_looks()[before:]
    assert (entry.person, entry.consignment_id, entry.command) == ("K. Lee", "RB2", "page consignment")
    assert not (state / "access.jsonl").exists()


def test_a_key_of_an_office_sees_and_decides_only_there(client: Client) -> None:
    person = enter(client, "busan")
    page = person.get("/?day=2024-03-04&office=Incheon")
    assert ("Busan, 2024-03-04" in read_text(page), "RB1" in page.text) == (True, False)
    assert [person.get(f"/consignment?id={name}").status_code for name in ("RB1", "RB4")] == [404, 200]
    sent = {"form": "action", "id": "RB1", "last": "99999", "action": "inspect", "reason": "r"}
    assert person.send("/consignment", **sent).status_code == 404
    links = person.get_until("/links?id=RB4", "<svg")
    assert ("RB2" in links.text, "a consignment of another office" in links.text) == (False, True)


def test_a_reader_sees_why_it_cannot_decide(client: Client) -> None:
    person = enter(client, "reader")
    one = "consignment?id=RB1"
    places = {"act": (one, "action"), "outcome": (one, "outcome"), "score": ("try", "fields")}
    for scope, (path, form) in places.items():
        assert f"lacks the scope {scope}" in read_text(person.get(f"/{path}"))
        page = path.partition("?")[0]
        assert person.send(f"/{page}", form=form, id="RB1", last="9", action="inspect").status_code == 403


def decide(officer: Officer, name: str, action: str, reason: str = "", **further: str) -> Any:
    last = read_last(officer.get(f"/consignment?id={name}"))
    sent = {"form": "action", "id": name, "last": last, "action": action, "reason": reason}
    return officer.send("/consignment", **sent, **further)


def test_a_decision_is_in_the_log_with_who_and_why(client: Client, officer: Officer) -> None:
    score(client, "RB30")
    acts = [("request_information", "value & goods <differ>"), ("release", "opened by mistake")]
    for action, reason in acts:
        assert decide(officer, "RB30", action, reason).status_code == 200
    assert "released" in read_text(officer.get(LIST))
    text = read_text(officer.get("/consignment?id=RB30"))
    for shown in ("Request information", "Release", "by K. Lee", *(reason for _, reason in acts)):
        assert shown in text
    given = read_json(client, "/v1/consignments/RB30")["actions"]
    assert [(each["action"], each["by"]) for each in given] == [(action, "K. Lee") for action, _ in acts]


def test_an_override_asks_for_its_reason_and_says_so_in_the_history(client: Client, officer: Officer) -> None:
    score(client, "RB7", office="Jeju")
    assert len(send(client, "/v1/selections", SELECT | {"office": "Jeju"})["selections"]) == 1
    page = decide(officer, "RB7", "release", "   ")
    assert (page.status_code, "Give the reason" in read_text(page)) == (422, True)
    assert 'aria-invalid="true" autofocus' in page.text
    assert decide(officer, "RB7", "release", "known sender").status_code == 200
    assert "overrides the proposal: The score proposes to inspect" in read_text(officer.page)
    assert [decide(officer, "RB7", action).status_code for action in ("", "burn")] == [422, 422]


def test_a_decision_on_an_old_page_is_shown_again(client: Client, officer: Officer) -> None:
    score(client, "RB8")
    mine = {"form": "action", "id": "RB8", "action": "request_screening"}
    last = read_last(officer.get("/consignment?id=RB8"))
    send(client, "/v1/actions", {"consignment_id": "RB8", "action": "do_not_load", "reason": "r"})
    page = officer.send("/consignment", **mine, last=last, reason="mine")
    assert page.status_code == 409
    for shown in ("Something new was recorded", "Do not load"):
        assert shown in read_text(page)
    assert ">mine</textarea>" in page.text
    assert officer.send("/consignment", **mine, last=read_last(page)).status_code == 200


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


WRONG = {"result": ["", "x"], "quantity_g": ["much", "inf"], "inspected_at": ["now", "2999-01-01T00:00"]}


def test_a_result_that_cannot_be_is_asked_for_again(officer: Officer) -> None:
    for field, value in ((field, value) for field, values in WRONG.items() for value in values):
        sent = RESULT | {"id": "RB2", "last": read_last(officer.get("/consignment?id=RB2"))}
        page = officer.send("/consignment", **(sent | {field: value}))
        assert (page.status_code, 'value="4-CMC"' in page.text) == (422, True), (field, value)


RESULT = {
    "form": "outcome", "result": "nps", "inspected_at": "2024-03-05T10:00", "substance": "4-CMC",
    "substance_family": "cathinone", "quantity_g": "12,5", "concealment": "",
}  # fmt: skip


def test_a_result_goes_the_way_of_the_interface(client: Client, officer: Officer) -> None:
    score(client, "RB9")
    page = officer.get("/consignment?id=RB9")
    for option in ('<option value="nitazene">nitazenes</option>', '<option value="4-CMC"></option>'):
        assert option in page.text
    page = officer.send("/consignment", **RESULT, id="RB9", last=read_last(page))
    assert (page.status_code, "4-CMC, 12.5 g" in read_text(page)) == (200, True)
    assert "/draft" not in page.text, "this installation has no name among partners"
    assert "NPSRISK_" not in officer.get("/draft?id=RB9").text
    (told,) = read_json(client, "/v1/consignments/RB9")["outcomes"]
    given = [told[name] for name in ("result", "substance", "quantity_g", "office")]
    assert given == ["nps", "4-CMC", 12.5, "Incheon"]
    assert "NPS found" in read_text(officer.get(f"{LIST}&family=cathinone"))
    assert officer.send("/consignment", form="outcome", id="UNKNOWN").status_code == 404
    missed = build_outcome(RESULT | {"id": "RB9", "result": "missed", "selected_by": "model"}, None, 0)
    assert (missed.status, missed.result, missed.substance) == ("missed", None, None)


def test_after_an_act_the_page_says_so_and_offers_the_next_one(client: Client, officer: Officer) -> None:
    for name, goods in (("RB51", "research chemical powder"), ("RB52", "books"), ("RB53", "books")):
        score(client, name, description=goods, office="Gimhae", received_at=day(2))
    place = "day=2024-03-06&office=Gimhae"
    page = officer.get(f"/?{place}")
    first, second, last = re.findall(r'href="/consignment\?id=(RB5\d)', page.text)
    link = re.search(r'href="(/consignment[^"]+)"', page.text)
    opened = officer.get(link[1].replace("&amp;", "&"))
    checked = opened.text.count('name="go" value="1" checked')
    assert checked == 2, "from the list, the next one is what follows"
    page = decide(officer, first, "request_screening", list=place)
    top, now = read_text(page).partition("Decide")[0], f"{to_datetime(HOUR.now_us):%Y-%m-%d %H:%M}"
    assert f"Recorded for {first} : Request screening . By K. Lee, {now}." in top
    assert "screening requested" in top
    assert f"id={second}&amp;list=" in page.text
    page = decide(officer, second, "request_screening", list=place, go="1", next=last)
    assert f"Recorded for {second}" in read_text(page)
    assert f'<h1 class="id">{last}</h1>' in page.text
    assert "Next on the list" not in read_text(page).partition("Decide")[0]
    assert f'href="/?{place.replace("&", "&amp;")}&amp;page=1#r3"' in page.text


def test_no_result_is_preset_and_a_second_click_records_nothing(client: Client, officer: Officer) -> None:
    named = {"RB54": "books", "RB55": "3-CMC"}
    bands = {name: score(client, name, description=goods)["band"] for name, goods in named.items()}
    assert bands["RB54"] != "high"
    for name, band in bands.items():
        page = officer.get(f"/consignment?id={name}")
        form = page.text.partition('name="form" value="outcome"')[2].partition("</form>")[0]
        assert not re.search(r'type="radio"[^>]*checked|<option[^>]*selected', form)
        sent = {"form": "outcome", "id": name, "last": read_last(page), "inspected_at": "2024-03-05T10:00"}
        assert officer.send("/consignment", **sent).status_code == 422
        for _ in range(2):
            page = officer.send("/consignment", **sent, result="clear")
            told = f"Recorded for {name} : nothing found . By K. Lee," in read_text(page)
            assert (page.status_code, told) == (200, True)
        page = officer.send("/consignment", **sent, result="nps")
        assert page.status_code == 409, "another result is no repeat"
        (outcome,) = read_json(client, f"/v1/consignments/{name}")["outcomes"]
        assert outcome["selected_by"] == ("model" if band == "high" else "officer")


def test_a_score_of_the_rules_is_named_in_words(tmp_path: Path, pages_here: None) -> None:
    with serving_desk(settings_in(tmp_path), HOUR) as opened:
        opened.score("RB1")
        person = enter(opened, person="K. Lee")
        for path in ("/consignment?id=RB1", "/model"):
            text = read_text(person.get(path))
            assert ("the officers' rules" in text, "rules/" in text) == (True, False)


def test_history_has_the_time_of_the_score_and_words_for_codes(client: Client, officer: Officer) -> None:
    score(client, "RB56", received_at=day(-3), service="small_packet", nature="sale", payment="crypto")
    page = officer.get("/consignment?id=RB56")
    history = read_text(page).partition("History")[2].partition("Data")[0]
    assert history.split()[0] == f"{to_datetime(HOUR.now_us):%Y-%m-%d}"
    assert "received 2024-03-01" in history
    for shown in ("small packet", "sale of goods", "in a cryptocurrency"):
        assert shown in read_text(page)
    assert [code for code in ("small_packet", "log-odds") if code in page.text] == []


def test_reasons_repeat_no_sentence_and_the_rest_is_smaller(client: Client, officer: Officer) -> None:
    shared = {"consignee_phone": "+82 2 555 0155", "description": "research chemical powder"}
    for number in range(61, 65):
        score(client, f"RB{number}", received_at=day(-3), **shared)
        found = make_outcome(f"RB{number}", result="nps", known_at=day(-2), inspected_at=day(-2))
        send(client, "/v1/outcomes", found)
    score(client, "RB65", **shared)
    page = officer.get("/consignment?id=RB65").text
    table = page.partition('<table class="fall">')[2].partition("</table>")[0]
    rows = re.findall(r"<tr><td>(.*?)</td>.*?<td class=\"number [a-z]+\">(.*?)</td></tr>", table, re.DOTALL)
    *shown, (others, left) = rows[1:-1]
    assert others == "All other reasons"
    assert abs(float(left)) < max(abs(float(effect)) for _, effect in shown)
    sentences = [sentence for text, _ in shown for sentence in text.split("; ")]
    assert sum("telephone number" in each for each in sentences) == 1
    assert len(sentences) == len(set(sentences)) > 4


def test_a_trial_that_cannot_be_scored_is_refused_with_a_hint(officer: Officer) -> None:
    assert "Two letters, for example CN" in read_text(officer.get("/try"))
    hint = "two letters, for example CN"
    countries = [({name: "China"}, hint) for name in ("sender_country", "departure_country")]
    for wrong, told in (*countries, ({"channel": "sea"}, ""), ({"gross_weight_kg": "heavy"}, "")):
        page = officer.send("/try", form="fields", **({"channel": "postal"} | wrong))
        assert (page.status_code, told in read_text(page)) == (422, True), wrong
    for message, told in (
        ((MESSAGES / "xfzb_house.xml").read_text(), "Trial: not recorded"),
        ((MESSAGES / "fhl_houses.txt").read_text(), "Trial: not recorded"),
        ((BROKEN / "xfzb_bomb.xml").read_text(), "cannot be scored"),
        ((BROKEN / "xfzb_cut.xml").read_text(), "cannot be scored"),
        ("hello", ""),
    ):
        officer.get("/try")
        page = officer.send("/try", form="message", message=message)
        assert (page.status_code in (200, 422), told in read_text(page)) == (True, True), message[:20]


def test_a_trial_is_scored_as_the_service_would_and_leaves_no_trace(client: Client, officer: Officer) -> None:
    before = client.service.log.read_last_sequence()
    c = make_consignment("TRY1", received_at=None)
    sender = [f"sender_{part}" for part in ("name", "address", "city", "country", "phone")]
    names = ("consignment_id", "channel", "description", "office", *sender)
    fields = {name: getattr(c, name) for name in names}
    officer.get("/try")
    tried = []
    for _ in range(2):
        page = officer.send("/try", form="fields", gross_weight_kg="0,6", **fields)
        assert (page.status_code, "Trial: not recorded" in read_text(page)) == (200, True)
        tried += re.findall(r'class="score">([^<]+)<', page.text)
    assert client.service.log.read_last_sequence() == before
    scored = send(client, "/v1/scores", {**fields, "gross_weight_kg": 0.6})["score"]
    assert tried == [str(escape(format_score(scored)))] * 2


def test_the_model_page_says_what_scores_with_the_figures_of_the_promotion_record(officer: Officer) -> None:
    text = read_text(officer.get("/model"))
    for shown in (
        *("nps-risk/1", "2024-04-01", "Area under the ROC curve", "new psychoactive substances"),
        "Known detections: 41, among arrivals from 2024-01-01 until before 2024-03-01. ",
        "Within the capacity of 2 a day in each office: 12. In the highest 1 % of scores: 20.",
        *("45.3 %", "38.0 % to 53.0 %", "too few results: 4 known, about 60 more needed"),
    ):
        assert shown in text


def test_linked_consignments_are_drawn_and_listed_and_a_page_that_is_being_prepared_comes_again_by_itself(
    officer: Officer, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = officer.get_until("/links?id=RB1", "<svg")
    assert ("<svg" in page.text, "phone (with no. 1)" in read_text(page)) == (True, True)

    async def prepare(*_: Any) -> PageAnswer:
        return PageAnswer(200, b"", preparing=True)

    monkeypatch.setattr(PageProcess, "render", prepare)
    assert officer.get("/hunt?id=RB1").headers["refresh"] == "2"


def test_only_paths_of_the_service_are_returned_to() -> None:
    elsewhere = ("//evil.example", "/\\evil.example", "https://evil.example", "javascript:1")
    assert {check_path(path) for path in (*elsewhere, "", "/a\r\nx: y", "/ü")} == {"/"}
    assert check_path("/alerts") == "/alerts"
