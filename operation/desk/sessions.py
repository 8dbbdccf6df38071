"""Sessions of the pages, for eight hours or until the person signs out; they end with their API key, and a restart ends them all."""

import hmac
import secrets
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import NamedTuple

from serving.process.clock import Clock

COOKIE = "npsrisk_session"
SESSION_SECONDS = 8 * 3600
SIGN_IN_SECONDS = 3600  # validity of the form to sign in
SIGN_IN_MARK = "-"  # first character of the cookie of a person who has not signed in
MAX_SESSIONS = 10_000  # maximum number of sessions at a time; above it the oldest end
MAX_COOKIE_CHARACTERS = 100


class Session(NamedTuple):
    """A person who has signed in: SHA-256 of the API key, the name that the person gave if the key names none, and the end."""

    key: bytes
    person: str
    ends_us: int


class Sessions:
    """The sessions of a service, in memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._secret = clock, secrets.token_bytes(32)
        self._sessions: dict[bytes, Session] = {}

    def open(self, key: bytes, person: str) -> str:
        """Open a session and return the value of its cookie."""
        now_us, cookie = self._clock(), secrets.token_urlsafe(32).lstrip(SIGN_IN_MARK)
        self._sessions = {name: each for name, each in self._sessions.items() if each.ends_us > now_us}
        while len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[_digest(cookie)] = Session(key, person, now_us + SESSION_SECONDS * 1_000_000)
        return cookie

    def find(self, cookie: str | None) -> Session | None:
        """Find the session of a cookie; None if nobody has signed in with it, or it has ended."""
        session = None if cookie is None else self._sessions.get(_digest(cookie))
        return None if session is None or session.ends_us <= self._clock() else session

    def close(self, cookie: str) -> None:
        """End the session of a cookie."""
        self._sessions.pop(_digest(cookie), None)

    def make_token(self, cookie: str) -> str:
        """Make the token of the forms of a cookie."""
        return urlsafe_b64encode(hmac.digest(self._secret, cookie.encode(), "sha256")).decode()

    def check_token(self, cookie: str, token: str) -> bool:
        """Check the token that a form sent."""
        return hmac.compare_digest(self.make_token(cookie).encode(), token.encode())


def _digest(cookie: str) -> bytes:
    return sha256(cookie.encode()).digest()


def read_cookie(header: bytes | None, *, secure: bool) -> str | None:
    """Read the session's cookie from the header of a request; None if there is none, or more than one."""
    parts = (part.strip().partition("=") for part in (header or b"").decode("latin-1").split(";"))
    found = [value for name, _, value in parts if name == _name_cookie(secure)]
    return found[0] if len(found) == 1 and 0 < len(found[0]) <= MAX_COOKIE_CHARACTERS else None


def format_cookie(value: str, seconds: int, *, secure: bool) -> str:
    """Format the header that sets the cookie; with 0 seconds it is deleted. With TLS, no other host can set it (`__Host-`)."""
    ending = "; Secure" if secure else ""
    return f"{_name_cookie(secure)}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{ending}"


def _name_cookie(secure: bool) -> str:
    return f"__Host-{COOKIE}" if secure else COOKIE
