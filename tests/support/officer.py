"""An officer at the pages of a service: signs in, follows links, and sends forms, as a browser would without scripts."""

import json
import re
import time
from contextlib import AbstractContextManager
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
from support.serving_examples import Client, describe_key, on_day_20, serving

from operation.desk.routes import list_page_routes
from serving.process.clock import Clock
from serving.process.settings import Settings

SERVE_DESK = (
    "import sys; from operation.desk.routes import list_page_routes; from serving.http.server import serve; from serving.messages.scoring import accept_messages; from serving.process.settings import Settings; "
    "serve('127.0.0.1', int(sys.argv[1]), Settings.read(), further=[accept_messages, list_page_routes])"
)
FORM_HEADERS = {"content-type": "application/x-www-form-urlencoded"}
TOKEN = re.compile(r'name="token" value="([^"]+)"')
ATTEMPTS = 60
ALL_SCOPES = ("score", "outcome", "read", "act", "alert", "personal")


def write_keys(path: Path, *keys: dict[str, Any]) -> Path:
    """Write a key file; each key gives `key`, and `scopes`, `person`, `offices`, `expires_at` if they differ."""
    blocks = []
    for each in keys:
        more = {name: json.dumps(value) for name, value in each.items() if name in ("person", "offices")}
        more |= {"expires_at": each["expires_at"]} if "expires_at" in each else {}
        lines = "\n".join(f"{name} = {value}" for name, value in more.items())
        blocks.append(describe_key(each["key"], *each.get("scopes", ALL_SCOPES), more=lines))
    path.write_text("".join(blocks))
    return path


def serving_desk(settings: Settings, clock: Clock = on_day_20) -> AbstractContextManager[Client]:
    return serving(settings, clock, further=[list_page_routes])


class Officer:
    """A person with a browser at one service."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.cookie: str | None = None
        self.page: httpx.Response

    def get(self, path: str) -> httpx.Response:
        """Open a page; again while it is being prepared."""
        for _ in range(ATTEMPTS):
            page = self._keep(self.client.get(path, headers=self._headers()))
            if "This page is being prepared" not in page.text:
                return page
        raise AssertionError(f"{path} is never prepared")

    def get_until(self, path: str, text: str) -> httpx.Response:
        """Open a page until it has a text: what is read from the whole log may be some seconds old."""
        for _ in range(ATTEMPTS):
            if text in self.get(path).text:
                return self.page
            time.sleep(0.2)
        raise AssertionError(f"{text} never stands on {path}")

    def send(
        self, path: str, *, token: str | None = None, headers: Any = None, **fields: str
    ) -> httpx.Response:
        """Send a form of the last page, with its token, and follow to the page that comes then."""
        fields["token"] = token if token is not None else read_token(self.page)
        body = urlencode(fields).encode()
        given = FORM_HEADERS | self._headers() | (headers or {})
        response = self._keep(self.client.post(path, body, headers=given))
        return self.get(response.headers["location"]) if response.status_code == 303 else response

    def sign_in(self, key: str = "", person: str = "") -> httpx.Response:
        """Sign in with a key, or with a name if there are no keys."""
        self.get("/login")
        return self.send("/login", key=key, person=person, next="/try")

    def _headers(self) -> dict[str, str]:
        return {} if self.cookie is None else {"cookie": f"npsrisk_session={self.cookie}"}

    def _keep(self, response: httpx.Response) -> httpx.Response:
        given = response.headers.get("set-cookie")
        if given is not None:
            self.cookie = given.partition("=")[2].partition(";")[0]
            self.client.http.cookies.clear()  # each officer has a browser of their own
        self.page = response
        return response


def read_token(page: httpx.Response) -> str:
    found = TOKEN.search(page.text)
    assert found is not None, page.text
    return found[1]


def read_last(page: httpx.Response) -> str:
    """Read the last entry of the log that a page of a consignment shows."""
    found = re.search(r'name="last" value="(\d+)"', page.text)
    assert found is not None, page.text
    return found[1]


def enter(client: Client, key: str = "", person: str = "") -> Officer:
    officer = Officer(client)
    officer.sign_in(key, person)
    return officer


def read_text(page: httpx.Response) -> str:
    """Read the visible text of a page, in one line."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page.text)).split())
