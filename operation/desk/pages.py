"""The desk as the service sees it: sessions, rights and forms are checked here, and the page process renders."""

import hashlib
import secrets
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from consignments.errors import ServiceFault
from operation.desk.formats import render_template
from operation.desk.forms import FORM_TYPES, MAX_FORM_BYTES, Form, parse_form
from operation.desk.messages import PageAnswer, PageRequest, Viewer
from operation.desk.page_process import PageProcess
from operation.desk.sessions import (
    SESSION_SECONDS,
    SIGN_IN_MARK,
    SIGN_IN_SECONDS,
    Sessions,
    format_cookie,
    read_cookie,
)
from serving.http.asgi import HttpCall, build_unavailable_refusal, respond
from serving.http.auth import SCOPES, Caller
from serving.http.problems import Refusal
from serving.http.requests import Door, read_parameters
from serving.http.routing import Endpoint
from serving.service import Service

HTML = b"text/html; charset=utf-8"
POLICY = (
    b"content-security-policy",
    b"default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
)
"""Only the service's own style sheet is loaded: no script, no style inside the page, nothing from elsewhere."""
MAX_PERSON_CHARACTERS = 100
SAME_SITE = (None, b"same-origin", b"none")  # values of `Sec-Fetch-Site` with which a form may be sent
PREPARING = {"refresh": "2"}
"""Header of a page that is being prepared: the browser asks again after two seconds."""


class Visit(NamedTuple):
    """A request of a person who has signed in; `person` is recorded with what is decided, `token` belongs to the forms."""

    caller: Caller
    person: str
    cookie: str
    token: str

    @property
    def viewer(self) -> Viewer:
        """Return what the page process needs to know of the person."""
        scopes = tuple(scope for scope in SCOPES if self.caller.may(scope))
        offices = None if self.caller.offices is None else tuple(sorted(self.caller.offices))
        return Viewer(self.caller.name, self.person, scopes, offices)


class SignInRequired(Exception):
    """Nobody has signed in, or the session has ended."""


class OfficerPages:
    """The common part of the endpoints: sessions, forms, and the page process."""

    def __init__(self, door: Door, service: Service) -> None:
        self.service, self.sessions = service, Sessions(service.clock)
        self.process = PageProcess(service.settings)
        self._keys = door.authenticator
        self._bodies = Door(door.authenticator, min(MAX_FORM_BYTES, service.settings.max_body_bytes))
        service.stop_at_end(self.process.stop)

    def greet(self, call: HttpCall) -> Visit:
        """Return the visit of a person who has signed in; else raise `SignInRequired`, or a refusal with 403 or 429."""
        cookie = find_cookie(call)
        session = self.sessions.find(cookie)
        caller = None if session is None else self._keys.find(session.key)
        if cookie is None or session is None or caller is None:
            raise SignInRequired
        person = caller.person or session.person or caller.name
        call.caller = caller.name, person
        caller.require("read")
        caller.spend(1)
        return Visit(caller, person, cookie, self.sessions.make_token(cookie))

    async def read_form(self, call: HttpCall, cookie: str | None) -> Form:
        """Read a form of a page of this cookie; raise a refusal if it is none, comes from another site, or has another token."""
        if call.headers.get(b"sec-fetch-site") not in SAME_SITE:
            raise Refusal(403, "The form was sent by another site.")
        form = parse_form((await self._bodies.read_body(call, FORM_TYPES))[1])
        if cookie is None or not self.sessions.check_token(cookie, form.get("token", "")):
            raise Refusal(403, "The form does not belong to this session. Open the page again.")
        return form

    async def show(
        self, call: HttpCall, view: str, visit: Visit, query: Form, facts: dict[str, Any] | None = None
    ) -> int:
        """Send a page."""
        request = PageRequest(view, query, visit.viewer, visit.token, self.service.clock(), facts or {})
        return await _send(call, await self.process.render(request))

    async def show_sign_in(self, call: HttpCall) -> int:
        """Send the form to sign in; a person who has signed in goes on to the page that was wanted."""
        query = read_parameters(call.query, frozenset({"next", "ended"}))
        path = check_path(query.get("next", "/"))
        if self.sessions.find(find_cookie(call)) is not None:
            return await redirect(call, path)
        return await self._send_sign_in(call, "expired" if query.get("ended") else "", path, 200)

    async def sign_in(self, call: HttpCall) -> int:
        """Open a session for a valid key, and go to the page that was wanted."""
        cookie = find_cookie(call)
        try:
            form = await self.read_form(call, cookie)
        except Refusal as refusal:
            if refusal.status != HTTPStatus.FORBIDDEN:
                raise
            if self.sessions.find(cookie) is not None:  # signed in meanwhile, in another tab
                return await redirect(call, "/")
            return await self._send_sign_in(call, "stale", "/", 403)
        path = check_path(form.get("next", "/"))
        session = self._find_session(form)
        if session is None:
            return await self._send_sign_in(call, "nameless" if self._keys.open else "wrong", path, 401)
        return await redirect(call, path, _set_cookie(call, self.sessions.open(*session), SESSION_SECONDS))

    async def sign_out(self, call: HttpCall, visit: Visit) -> int:
        """End the session, here and in the browser."""
        await self.read_form(call, visit.cookie)
        self.sessions.close(visit.cookie)
        return await redirect(call, "/login", _set_cookie(call, "", 0))

    def _find_session(self, form: Form) -> tuple[bytes, str] | None:
        """Return key and person of a form to sign in; None if they are not accepted."""
        if self._keys.open:
            person = " ".join(form.get("person", "").split())[:MAX_PERSON_CHARACTERS]
            return (b"local", person) if person and person.isprintable() else None
        key = hashlib.sha256(form.get("key", "").strip().encode()).digest()
        caller = self._keys.find(key)
        return (key, "") if caller is not None and caller.may("read") else None

    async def _send_sign_in(self, call: HttpCall, notice: str, next_path: str, status: int) -> int:
        """Send the form to sign in, whose token belongs to a cookie that other tabs keep."""
        cookie = find_cookie(call) or ""
        known = cookie if cookie.startswith(SIGN_IN_MARK) else SIGN_IN_MARK + secrets.token_urlsafe(32)
        facts = {"notice": notice, "next": next_path, "open": self._keys.open}
        request = PageRequest("login", {}, None, self.sessions.make_token(known), self.service.clock(), facts)
        answer = render_template("login", request, {}, status)
        return await _send(call, answer, _set_cookie(call, known, SIGN_IN_SECONDS))


PageAnswerer = Callable[[HttpCall, Visit], Awaitable[int]]


def build_endpoint(
    pages: OfficerPages, *, signed_in: PageAnswerer | None = None, everybody: Endpoint | None = None
) -> Endpoint:
    """Build the endpoint of a page for people who have signed in, or for everybody; a fault becomes a page that names no files."""

    async def answer_call(call: HttpCall) -> int:
        viewer, token = None, ""
        try:
            if signed_in is None:
                assert everybody is not None
                return await everybody(call)
            visit = pages.greet(call)
            viewer, token = visit.viewer, visit.token
            return await signed_in(call, visit)
        except SignInRequired:
            call.refused = {}
            ended = {} if (find_cookie(call) or SIGN_IN_MARK).startswith(SIGN_IN_MARK) else {"ended": "1"}
            return await redirect(call, "/login?" + urlencode({"next": _get_path(call), **ended}))
        except (Refusal, ServiceFault) as fault:
            refusal = fault if isinstance(fault, Refusal) else build_unavailable_refusal(fault)
            call.refused = {"error": str(fault)} if isinstance(fault, ServiceFault) else {}
            request = PageRequest("error", {}, viewer, token, pages.service.clock())
            values = {"title": f"error.title_{refusal.status}", "detail": refusal.detail}
            answer = render_template("error", request, values, refusal.status)
            return await _send(call, answer, refusal.headers)

    return answer_call


async def redirect(call: HttpCall, path: str, headers: dict[str, str] | None = None) -> int:
    """Send the browser to a page with GET."""
    await respond(call, 303, b"", HTML, {"location": path, **(headers or {})}, POLICY)
    return 303


async def _send(call: HttpCall, answer: PageAnswer, headers: dict[str, str] | None = None) -> int:
    if answer.status >= HTTPStatus.BAD_REQUEST and call.refused is None:
        call.refused = {"error": answer.error} if answer.error else {}
    further = (headers or {}) | (PREPARING if answer.preparing else {})
    await respond(call, answer.status, answer.html, HTML, further, POLICY)
    return answer.status


def find_cookie(call: HttpCall) -> str | None:
    """Return the session's cookie of a request."""
    return read_cookie(call.headers.get(b"cookie"), secure=call.scope["scheme"] == "https")


def _set_cookie(call: HttpCall, value: str, seconds: int) -> dict[str, str]:
    return {"set-cookie": format_cookie(value, seconds, secure=call.scope["scheme"] == "https")}


def check_path(path: str) -> str:
    """Return a path of this service, and `/` for anything else, so that no form leads to another site."""
    local = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if local and path.isprintable() and path.isascii() else "/"


def _get_path(call: HttpCall) -> str:
    """Return the path of a request to return to after signing in; a form is not sent again."""
    if call.scope["method"] != "GET":
        return "/"
    query = call.scope["query_string"].decode("latin-1")
    return quote(call.scope["path"]) + (f"?{query}" if query else "")
