"""Endpoints of the pages: the session and the rights of the viewer are checked here, and the page process renders."""

import hashlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from consignments.errors import ServiceFault
from features.history.pseudonyms import derive_key
from operation.desk.formats import TEMPLATES
from operation.desk.forms import FORM_TYPES, MAX_FORM_BYTES, Form, parse_form
from operation.desk.messages import PageAnswer, PageRequest, Viewer
from operation.desk.page_process import PageProcess
from operation.desk.sessions import (
    SESSION_SECONDS,
    SIGN_IN_SECONDS,
    Session,
    Sessions,
    format_cookie,
    read_cookie,
)
from serving.http.asgi import HttpCall, build_unavailable_refusal, respond
from serving.http.auth import SCOPES, Caller
from serving.http.problems import Refusal
from serving.http.requests import Door, read_parameters
from serving.service import Service

HTML, CSS = b"text/html; charset=utf-8", b"text/css; charset=utf-8"
POLICY = (
    b"content-security-policy",
    b"default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
)
"""Only the service's own style sheet is loaded: no script, no style inside the page, nothing from elsewhere."""
MAX_PERSON_CHARACTERS = 100
SAME_SITE = (None, b"same-origin", b"none")
"""Values of `Sec-Fetch-Site` with which a form may be sent."""


class Visit(NamedTuple):
    """A request of a person who has signed in.

    Attributes
    ----------
    caller : Caller
        The client of the API key.
    person : str
        Who is recorded with what is decided.
    cookie, token : str
        The session, and the token of its forms.
    """

    caller: Caller
    person: str
    cookie: str
    token: str

    def to_viewer(self) -> Viewer:
        """Return what the page process needs to know of the person."""
        offices = self.caller.offices
        return Viewer(
            self.caller.name,
            self.person,
            tuple(scope for scope in SCOPES if self.caller.may(scope)),
            None if offices is None else tuple(sorted(offices)),
        )


class SignInRequired(Exception):
    """The session is missing or has ended; `ended` if there was one."""

    def __init__(self, *, ended: bool) -> None:
        super().__init__()
        self.ended = ended


class OfficerPages:
    """The common part of the endpoints: sessions, forms, and the page process.

    Parameters
    ----------
    door : Door
    service : Service
    """

    def __init__(self, door: Door, service: Service) -> None:
        self.service, self._door = service, door
        self.sessions = Sessions(derive_key(service.vault.data_key, "sessions of the pages"), service.clock)
        self.process = PageProcess(service.settings)
        self._bodies = Door(door.authenticator, min(MAX_FORM_BYTES, service.settings.max_body_bytes))
        service.stop_at_end(self.process.stop)

    @property
    def open(self) -> bool:
        """Return whether no API keys are configured."""
        return self._door.authenticator.open

    def greet(self, call: HttpCall) -> Visit:
        """Return the visit of a person who has signed in and may read.

        Raises
        ------
        SignInRequired
        Refusal
            403 without the scope `read`, 429 above the rate limit.
        """
        cookie = read_cookie(call.headers.get(b"cookie"))
        session = self.sessions.read(cookie)
        caller = self._find_caller(session)
        if cookie is None or session is None or caller is None:
            raise SignInRequired(ended=self.sessions.has_ended(cookie) or bool(session and session.signed_in))
        visit = Visit(caller, self._name_person(caller, session), cookie, self.sessions.make_token(cookie))
        call.caller = caller.name, visit.person
        caller.require("read")
        caller.spend(1)
        return visit

    def _find_caller(self, session: Session | None) -> Caller | None:
        if session is None or not session.signed_in:
            return None
        return self._door.authenticator.find(session.key)

    @staticmethod
    def _name_person(caller: Caller, session: Session) -> str:
        return caller.person or session.person or caller.name

    async def read_form(self, call: HttpCall) -> Form:
        """Read a form; raise a refusal if it is none, or comes from another site."""
        if call.headers.get(b"sec-fetch-site") not in SAME_SITE:
            raise Refusal(403, "The form was sent by another site.")
        return parse_form((await self._bodies.read_body(call, FORM_TYPES)).content)

    async def read_own_form(self, call: HttpCall, visit: Visit) -> Form:
        """Read a form of a page of this session; raise a refusal with 403 if its token is another one."""
        form = await self.read_form(call)
        if not self.sessions.check_token(visit.cookie, form.get("token", "")):
            raise Refusal(403, "The form does not belong to this session. Open the page again.")
        return form

    def sign_in(self, form: Form) -> Session | None:
        """Return the session of a form to sign in, without its end; None if the key is not accepted."""
        if self.open:
            person = " ".join(form.get("person", "").split())[:MAX_PERSON_CHARACTERS]
            return Session(b"local", person, 0, b"") if person and person.isprintable() else None
        key = hashlib.sha256(form.get("key", "").strip().encode()).digest()
        caller = self._door.authenticator.find(key)
        return Session(key, "", 0, b"") if caller is not None and caller.may("read") else None

    async def show(
        self,
        call: HttpCall,
        view: str,
        visit: Visit,
        query: dict[str, str],
        facts: dict[str, Any] | None = None,
    ) -> int:
        """Send a page."""
        request = PageRequest(view, query, visit.to_viewer(), visit.token, self.service.clock(), facts or {})
        return await self._send(call, await self.process.render(request))

    async def show_sign_in(self, call: HttpCall, notice: str, next_path: str, status: int = 200) -> int:
        """Send the form to sign in, with a cookie that its token belongs to."""
        cookie = self.sessions.open()
        facts = {"notice": notice, "next": next_path, "open": self.open, "status": status}
        request = PageRequest(
            "login", {}, None, self.sessions.make_token(cookie), self.service.clock(), facts
        )
        answer = await self.process.render(request)
        return await self._send(call, answer, self.format_cookie(call, cookie, SIGN_IN_SECONDS))

    async def show_error(self, call: HttpCall, visit: Visit | None, fault: Refusal | ServiceFault) -> int:
        """Send a page that says what is wrong; plain text if no page can be rendered."""
        refusal = to_refusal(fault)
        call.refused = {"error": str(fault)} if isinstance(fault, ServiceFault) else {}
        viewer, token = (None, "") if visit is None else (visit.to_viewer(), visit.token)
        facts = {"status": refusal.status, "detail": refusal.detail}
        request = PageRequest("error", {}, viewer, token, self.service.clock(), facts)
        try:
            answer = await self.process.render(request)
        except ServiceFault:
            text = f"{refusal.status} {HTTPStatus(refusal.status).phrase}: {refusal.detail}\n"
            await respond(
                call, refusal.status, text.encode(), b"text/plain; charset=utf-8", refusal.headers, POLICY
            )
            return refusal.status
        return await self._send(call, answer, refusal.headers)

    async def redirect(self, call: HttpCall, path: str, headers: dict[str, str] | None = None) -> int:
        """Send the browser to a page with GET."""
        await respond(call, 303, b"", HTML, {"location": path, **(headers or {})}, POLICY)
        return 303

    def format_cookie(self, call: HttpCall, value: str, seconds: int = SESSION_SECONDS) -> dict[str, str]:
        """Return the header that sets the session's cookie."""
        return {"set-cookie": format_cookie(value, seconds, secure=call.scope["scheme"] == "https")}

    async def _send(self, call: HttpCall, answer: PageAnswer, headers: dict[str, str] | None = None) -> int:
        if answer.status >= HTTPStatus.BAD_REQUEST and call.refused is None:
            call.refused = {"error": answer.error} if answer.error else {}
        await respond(call, answer.status, answer.html, HTML, headers, POLICY)
        return answer.status


PageAnswerer = Callable[[HttpCall, Visit], Awaitable[int]]


class SignedInEndpoint:
    """An endpoint of a page for people who have signed in; others are sent to the form to sign in.

    Parameters
    ----------
    pages : OfficerPages
    answer : callable
        Sends the page and returns its status.
    """

    def __init__(self, pages: OfficerPages, answer: PageAnswerer) -> None:
        self._pages, self._answer = pages, answer

    async def __call__(self, call: HttpCall) -> int:
        """Answer one request; every error is a page."""
        pages, visit = self._pages, None
        try:
            visit = pages.greet(call)
            return await self._answer(call, visit)
        except SignInRequired as required:
            call.refused = {}
            query = {"next": _get_path(call), "ended": "1" if required.ended else ""}
            return await pages.redirect(call, "/login?" + urlencode({k: v for k, v in query.items() if v}))
        except (Refusal, ServiceFault) as fault:
            return await pages.show_error(call, visit, fault)


class SignedOutEndpoint:
    """An endpoint of the form to sign in, which everybody may see."""

    def __init__(self, pages: OfficerPages, answer: Callable[[HttpCall], Awaitable[int]]) -> None:
        self._pages, self._answer = pages, answer

    async def __call__(self, call: HttpCall) -> int:
        """Answer one request; every error is a page."""
        try:
            return await self._answer(call)
        except (Refusal, ServiceFault) as fault:
            return await self._pages.show_error(call, None, fault)


def to_refusal(fault: Refusal | ServiceFault) -> Refusal:
    """Convert a fault to the refusal that a page shows; it names no files."""
    return fault if isinstance(fault, Refusal) else build_unavailable_refusal(fault)


class ViewEndpoint:
    """An answer with a page that the page process reads from the log.

    Parameters
    ----------
    pages : OfficerPages
    view : str
    parameters : frozenset of str
        Query parameters of the page.
    collect : callable, optional
        Collects what only the service knows.
    """

    def __init__(
        self,
        pages: OfficerPages,
        view: str,
        parameters: frozenset[str] = frozenset(),
        collect: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        self._pages, self._view, self._parameters, self._collect = pages, view, parameters, collect

    async def __call__(self, call: HttpCall, visit: Visit) -> int:
        """Send the page."""
        query = read_parameters(call.query, self._parameters)
        facts = {} if self._collect is None else self._collect()
        return await self._pages.show(call, self._view, visit, query, facts)


class SignInEndpoint:
    """Endpoints of `/login` and `/logout`."""

    def __init__(self, pages: OfficerPages) -> None:
        self._pages = pages

    async def show(self, call: HttpCall) -> int:
        """Send the form to sign in."""
        query = read_parameters(call.query, frozenset({"next", "ended"}))
        notice = "expired" if query.get("ended") else ""
        return await self._pages.show_sign_in(call, notice, check_path(query.get("next", "/")))

    async def sign_in(self, call: HttpCall) -> int:
        """Open a session for a valid key, and go to the page that was wanted."""
        pages = self._pages
        form = await pages.read_form(call)
        path = check_path(form.get("next", "/"))
        cookie = read_cookie(call.headers.get(b"cookie"))
        if (
            cookie is None
            or pages.sessions.read(cookie) is None
            or not pages.sessions.check_token(cookie, form.get("token", ""))
        ):
            return await pages.show_sign_in(call, "stale", path, 403)
        session = pages.sign_in(form)
        if session is None:
            return await pages.show_sign_in(call, "nameless" if pages.open else "wrong", path, 401)
        opened = pages.sessions.open(session.key, session.person)
        return await pages.redirect(call, path, pages.format_cookie(call, opened))

    async def sign_out(self, call: HttpCall, visit: Visit) -> int:
        """Delete the session's cookie."""
        await self._pages.read_own_form(call, visit)
        return await self._pages.redirect(call, "/login", self._pages.format_cookie(call, "", 0))


async def send_style(call: HttpCall) -> int:
    """Send the style sheet of the pages."""
    await respond(call, 200, _STYLE, CSS)
    return 200


_STYLE = (Path(TEMPLATES) / "style.css").read_bytes()


def check_path(path: str) -> str:
    """Return a path of this service, and `/` for anything else, so that no form leads to another site.

    Examples
    --------
    >>> check_path("/consignment?id=RB1"), check_path("//evil.example"), check_path("/\\\\evil.example")
    ('/consignment?id=RB1', '/', '/')
    """
    local = (
        path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and path.isascii()
    )
    return path if local else "/"


def _get_path(call: HttpCall) -> str:
    """Return the path of a request to return to after signing in; a form is not sent again."""
    if call.scope["method"] != "GET":
        return "/"
    query = call.scope["query_string"].decode("latin-1")
    return quote(call.scope["path"]) + (f"?{query}" if query else "")
