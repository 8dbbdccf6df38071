"""Sessions of the pages: a signed cookie for eight hours, and a token in every form against forged requests.

The cookie names the SHA-256 of the API key, not the key. The key must still be in the key file with every request, so
removing it there ends its sessions.
"""

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as BadBase64
from hashlib import sha256

import msgspec

from serving.process.clock import Clock

COOKIE = "npsrisk_session"
SESSION_SECONDS = 8 * 3600
SIGN_IN_SECONDS = 3600
"""Validity of the form to sign in."""
MAX_COOKIE_BYTES = 2_000


class Session(msgspec.Struct, frozen=True):
    """A session.

    Attributes
    ----------
    key : bytes
        SHA-256 of the API key; empty before signing in.
    person : str
        Name that the person gave; empty if the API key names one.
    ends_us : int
        When it ends, in microseconds since the epoch.
    nonce : bytes
        Random, so that no two sessions are equal.
    """

    key: bytes
    person: str
    ends_us: int
    nonce: bytes

    @property
    def signed_in(self) -> bool:
        """Return whether a person has signed in."""
        return bool(self.key)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Session).decode


class Sessions:
    """A signer and reader of sessions.

    Parameters
    ----------
    secret : bytes
        Key of the signatures.
    clock : callable
    """

    def __init__(self, secret: bytes, clock: Clock) -> None:
        self._secret, self._clock = secret, clock

    def open(self, key: bytes = b"", person: str = "") -> str:
        """Open a session and return its cookie value; without a key it is only for the form to sign in."""
        seconds = SESSION_SECONDS if key else SIGN_IN_SECONDS
        session = Session(key, person, self._clock() + seconds * 1_000_000, secrets.token_bytes(16))
        packed = _encode(session)
        return urlsafe_b64encode(self._sign(b"session", packed) + packed).decode()

    def read(self, cookie: str | None) -> Session | None:
        """Read the session of a cookie; None if there is none, it is not ours, or it has ended."""
        session = self._unpack(cookie)
        return None if session is None or session.ends_us <= self._clock() else session

    def has_ended(self, cookie: str | None) -> bool:
        """Check whether a cookie is ours, and a person had signed in, and it has ended."""
        session = self._unpack(cookie)
        return session is not None and session.signed_in and session.ends_us <= self._clock()

    def make_token(self, cookie: str) -> str:
        """Make the token of the forms of a session."""
        return urlsafe_b64encode(self._sign(b"form", cookie.encode())).decode()

    def check_token(self, cookie: str, token: str) -> bool:
        """Check the token that a form sent."""
        return hmac.compare_digest(self.make_token(cookie).encode(), token.encode())

    def _unpack(self, cookie: str | None) -> Session | None:
        if cookie is None or len(cookie) > MAX_COOKIE_BYTES:
            return None
        try:
            content = urlsafe_b64decode(cookie.encode("ascii"))
        except (BadBase64, UnicodeEncodeError, ValueError):
            return None
        mac, packed = content[:32], content[32:]
        if not hmac.compare_digest(mac, self._sign(b"session", packed)):
            return None
        return _decode(packed)

    def _sign(self, purpose: bytes, content: bytes) -> bytes:
        return hmac.new(self._secret, purpose + b"\0" + content, sha256).digest()


def read_cookie(header: bytes | None) -> str | None:
    """Read the session's cookie from the header of a request; None if there is none, or more than one."""
    parts = (header or b"").decode("latin-1").split(";")
    found = [value for name, _, value in (part.strip().partition("=") for part in parts) if name == COOKIE]
    return found[0] if len(found) == 1 else None


def format_cookie(value: str, seconds: int, *, secure: bool) -> str:
    """Format the header that sets the cookie; with 0 seconds it is deleted."""
    ending = "; Secure" if secure else ""
    return f"{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{ending}"
