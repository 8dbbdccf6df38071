"""The pages in a real browser, by clicks and keys: headless Chromium, and axe for people who cannot see or use a mouse.

Without Chromium these tests are skipped. The longer ones run with `make pages`, which also installs axe.
"""

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from urllib.parse import quote

import httpx
import msgspec
import pytest
from support.browser import Browser, browsing, find_chromium
from support.examples import make_consignment
from support.officer import SERVE_DESK, write_keys
from support.serving_examples import bear, running
from support.site import Site

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no Chromium: apt-get install chromium")
AXE = Path(sys.prefix) / "axe" / "axe_playwright_python" / "axe.min.js"
needs_axe = pytest.mark.skipif(not AXE.exists(), reason=f"no axe in {AXE}: run make pages")
RULES = "{runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']}"
HOSTILE = '<script>document.title="owned"</script>\u202egnp'
WIDTHS = (390, 768, 1280, 1920)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[str]:
    site = Site(tmp_path_factory.mktemp("browser"), bundle)
    keys = write_keys(site.folder / "keys.toml", {"key": "all", "person": "K. Lee"})
    nobody = {"received_at": None, "sender_name": None, "sender_phone": None}
    rows = [make_consignment("RB900", received_at=None, sender_address="7 Road")]
    for number in range(130):
        goods = HOSTILE if number == 7 else "research chemical powder"
        fields = {"gross_weight_kg": number / 10, "sender_address": f"{number} Road", "description": goods}
        rows.append(make_consignment(f"RB{number:03}", **nobody, **fields))
    alert = {"alert_id": "A-1", "issued_at": "2024-03-01T00:00:00Z", "hs_code": "61", "text": HOSTILE}
    with running(site.folder, SERVE_DESK, NPSRISK_API_KEYS_FILE=str(keys)) as (_, address):
        with httpx.Client(base_url=address, headers=bear("all"), timeout=60) as http:
            for path, body in (("alerts", alert), ("scores", {"consignments": rows})):
                http.post(f"/v1/{path}", content=msgspec.json.encode(body)).raise_for_status()
        yield address


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browsing() as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser, url: str) -> Browser:
    chromium.set_width(1280)
    sign_in(chromium, url, "all")
    return chromium


def sign_in(browser: Browser, url: str, key: str) -> None:
    browser.call("Network.clearBrowserCookies")
    browser.open(f"{url}/")
    browser.type("#key", key)
    browser.press("Enter", loads=True)
    browser.errors.clear()
    browser.requests.clear()


def list_requests(browser: Browser, url: str) -> list[str]:
    """List the addresses beyond the service that the page asked for; `data:` is part of the page or of the browser."""
    return [each for each in browser.requests if not each.startswith((url, "data:"))]


def test_an_officer_decides_by_clicks(browser: Browser, url: str) -> None:
    assert browser.text("h1").startswith("Incheon, ")
    browser.click("tbody th a", loads=True)
    name = browser.text("h1")
    assert re.fullmatch(r"RB\d{3}", name)
    browser.click("input[name=go]")
    browser.type("#reason", "value and goods differ")
    browser.click('button[value="request_information"]', loads=True)
    assert f"Recorded for {name}" in browser.text("[role=status]")
    history = browser.text(".timeline")
    assert "Request information" in history
    assert "value and goods differ" in history
    assert "by K. Lee" in history
    browser.click(".days a", loads=True)
    assert "information requested" in browser.text("table")
    assert browser.errors == []
    assert list_requests(browser, url) == []
    assert browser.run("document.querySelectorAll('script').length") == 0
    assert browser.run("document.cookie") == ""


@pytest.mark.slow
def test_thirty_parcels_are_decided_by_two_keys_and_one_page_each(browser: Browser, url: str) -> None:
    browser.open(f"{url}/?office=Incheon")
    names = browser.run("[...document.querySelectorAll('tbody th a')].map(a => a.textContent)")
    browser.press("n", alt=True, loads=True)
    browser.requests.clear()
    seconds = []
    for name in names[:30]:
        assert browser.text("h1") == name
        key = "i" if "proposes to inspect" in browser.text("section[aria-labelledby=decide]") else "r"
        begun = time.monotonic()
        browser.press(key, alt=True, loads=True)
        seconds.append(time.monotonic() - begun)
        done = browser.text("[role=status]")
        assert f"Recorded for {name}: {'Inspect' if key == 'i' else 'Release'}" in done
    pages = [each for each in browser.requests if "/consignment?" in each]
    assert len(pages) == 30, "one page for each parcel"
    print(f"from key to page: median {1000 * median(seconds):.0f} ms, longest {1000 * max(seconds):.0f} ms")
    assert median(seconds) < 1
    browser.press("p", alt=True, loads=True)
    assert browser.text("h1") == names[29]
    browser.press("l", alt=True, loads=True)
    assert browser.run("location.hash") == "#r30"


@pytest.mark.slow
def test_the_list_is_read_by_keys_alone(browser: Browser, url: str) -> None:
    browser.open(f"{url}/")
    browser.press("Tab")
    assert browser.run("document.activeElement.className") == "skip"
    browser.press("Enter")
    assert browser.run("document.activeElement.id") == "content"
    seen = []
    for _ in range(25):
        browser.press("Tab")
        outline = browser.run("getComputedStyle(document.activeElement).outlineStyle")
        seen.append(browser.run("document.activeElement.id || document.activeElement.textContent.trim()"))
        assert outline != "none", seen[-1]
    assert seen[0] == "Day before"
    assert "office" in seen
    assert any(re.fullmatch(r"RB\d{3}", each) for each in seen)
    browser.press("Enter", loads=True)
    assert re.fullmatch(r"RB\d{3}", browser.text("h1"))


@pytest.mark.slow
def test_hostile_texts_run_nothing(browser: Browser, url: str) -> None:
    one = "consignment?id=RB007"
    for path in (one, "alerts", "hunt?alert=A-1", "links?id=RB007", "?page=1", "?page=2"):
        browser.open(f"{url}/{path}")
        assert "owned" not in browser.run("document.title")
        assert browser.run("document.querySelectorAll('script').length") == 0
    browser.open(f"{url}/{one}")
    assert "[U+202E]gnp" in browser.text("dl")
    browser.open(f"{url}/try")
    browser.type("#description", HOSTILE)
    browser.click("section[aria-labelledby=fields] button", loads=True)
    assert "Scores, not recorded" in browser.text("main")
    assert "owned" not in browser.run("document.title")
    assert browser.errors == []


PAGES = (
    "/", "/?state=cancelled", "/?day=2001-01-01", "/?page=2&capacity=120", "/consignment?id=RB050", "/consignment?id=RB050&personal=1",
    "/consignment?id=none", "/links?id=RB007", "/hunt?id=RB050", "/hunt?alert=A-1",
    "/draft?id=RB050", "/alerts", "/model", "/try", "/login",
)  # fmt: skip


@pytest.mark.slow
@needs_axe
@pytest.mark.parametrize("path", PAGES)
def test_a_page_fits_every_width_and_axe_finds_nothing(browser: Browser, url: str, path: str) -> None:
    for width in WIDTHS:
        browser.set_width(width)
        browser.open(url + path)
        overflow = browser.run("document.documentElement.scrollWidth") - width
        assert overflow <= 0, (width, overflow)
        if width in (390, 1280):
            browser.run(AXE.read_text(encoding="utf-8") + "; 0")
            shown = "v => [v.id, v.impact, v.nodes.slice(0, 3).map(n => n.html)]"
            found = browser.run(f"axe.run(document, {RULES}).then(r => r.violations.map({shown}))")
            assert found == [], (width, found)
    errors = [each for each in browser.errors if "404" not in each]
    assert [each for each in errors if not each.startswith("recommendation")] == []
    assert list_requests(browser, url) == []


@pytest.mark.slow
@needs_axe
def test_axe_finds_a_page_that_is_wrong(browser: Browser) -> None:
    page = "<html><title>x</title><p style='color:#aaa;background:#fff'>grey<input><img src='data:,'>"
    browser.open("data:text/html," + quote(page))
    browser.run(AXE.read_text(encoding="utf-8") + "; 0")
    found = set(browser.run(f"axe.run(document, {RULES}).then(r => r.violations.map(v => v.id))"))
    assert {"color-contrast", "label", "image-alt", "html-has-lang"} <= found


@pytest.mark.slow
def test_a_consignment_prints_on_two_sheets(browser: Browser, url: str) -> None:
    browser.open(f"{url}/consignment?id=RB050")
    pdf = browser.print_pdf()
    assert pdf.startswith(b"%PDF")
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 2
