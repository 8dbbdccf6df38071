"""Who may ask: API keys kept as SHA-256, their scopes and expiry, and a limit of rate for each.

The keys stand in a TOML file, which may change while the service runs:

    [[keys]]
    name = "mail centre 1"
    sha256 = "…"                      # printf %s "$KEY" | sha256sum
    scopes = ["score", "outcome"]     # and "read"
    expires_at = 2027-01-01T00:00:00Z # may be left out

A key is a long random string (`python3 -c "import secrets; print(secrets.token_urlsafe(32))"`), so a plain hash is enough.
"""

import hashlib
import math
import time
import tomllib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec

from consignments.errors import BadSetting
from consignments.timestamps import to_us
from serving.http.problems import Refusal
from serving.process.clock import Clock, read_clock_us
from serving.process.settings import RateLimit
from serving.process.state_directory import FileStamp, get_file_stamp

Scope = Literal["score", "outcome", "read"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
LOCAL_CALLER = "local"
"""The caller's name where no keys are configured and only this machine can call."""


class ApiKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key of the file."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    scopes: tuple[Scope, ...]
    expires_at: datetime | None = None


class ApiKeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    keys: Annotated[tuple[ApiKey, ...], msgspec.Meta(min_length=1)]


class TokenBucket:
    """A token bucket: full at the start, filled at the rate; a large call may leave it in debt.

    Parameters
    ----------
    rate : Rate
    clock : callable
        Seconds, never going back.
    """

    def __init__(self, rate: RateLimit, clock: Callable[[], float] = time.monotonic) -> None:
        self._size, self._per_second, self._clock = float(rate.amount), rate.amount / rate.seconds, clock
        self._tokens, self._at = self._size, clock()

    def take(self, records: int) -> float:
        """Take tokens for so many records; gives 0, or the seconds to wait where none was left and none was taken."""
        now = self._clock()
        self._tokens = min(self._size, self._tokens + (now - self._at) * self._per_second)
        self._at = now
        if self._tokens < 1 and self._tokens < self._size:
            return (1 - self._tokens) / self._per_second
        self._tokens -= records
        return 0.0


class Caller:
    """Someone who may ask for some things.

    Attributes
    ----------
    name : str
        Stands in the log as `asked_by`.
    """

    def __init__(
        self,
        name: str,
        scopes: tuple[Scope, ...],
        bucket: TokenBucket | None,
        expires_at: datetime | None = None,
    ) -> None:
        self.name, self._scopes, self._bucket = name, frozenset(scopes), bucket
        self._expires_us = math.inf if expires_at is None else to_us(expires_at)

    def is_expired(self, now_us: int) -> bool:
        """Whether the key's time is over."""
        return now_us >= self._expires_us

    def require(self, scope: Scope) -> None:
        """Refuse with 403 where the key has not this scope."""
        if scope not in self._scopes:
            raise Refusal(403, f"this key has not the scope {scope!r}")

    def spend(self, records: int) -> None:
        """Refuse with 429 where the key has used up its rate."""
        if self._bucket is None:
            return
        wait = self._bucket.take(records)
        if wait:
            raise Refusal(429, "this key has used up its rate", headers={"retry-after": str(math.ceil(wait))})


class Authenticator:
    """The callers that are let in.

    Parameters
    ----------
    path : Path or None
        The key file; None lets everyone in who can reach the service, which then listens on loopback only.
    rate : Rate or None
        Of each caller.
    clock : callable
        By which keys expire.

    Raises
    ------
    BadSetting
        Where the file cannot be read.
    """

    def __init__(self, path: Path | None, rate: RateLimit | None, clock: Clock = read_clock_us) -> None:
        self.path, self.rate, self._clock = path, rate, clock
        self._local = Caller(LOCAL_CALLER, SCOPES, self._new_bucket())
        self._callers: dict[bytes, Caller] = {}
        self._seen: FileStamp | None = None
        self.refresh()

    @property
    def open(self) -> bool:
        """Whether no key is asked for."""
        return self.path is None

    def refresh(self) -> bool:
        """Read the file where it changed; gives whether it did. A bad file leaves the keys as they were."""
        if self.path is None:
            return False
        try:
            stamp = get_file_stamp(self.path)
        except OSError as error:
            raise _bad_file(self.path, error.__class__.__name__) from error
        if stamp == self._seen:
            return False
        keys = read_keys(self.path)
        self._seen = stamp
        before = {caller.name: caller for caller in self._callers.values()}
        self._callers = {
            bytes.fromhex(key.sha256): Caller(
                key.name, key.scopes, _keep_bucket(before.get(key.name), self._new_bucket), key.expires_at
            )
            for key in keys
        }
        return True

    def authenticate(self, authorization: bytes | None) -> Caller:
        """Find the caller by the header `Authorization: Bearer KEY`; refuse with 401."""
        if self.path is None:
            return self._local
        if authorization is None or authorization[:7].lower() != b"bearer ":
            raise _unauthorized("no API key was given; send the header Authorization: Bearer KEY")
        caller = self._callers.get(hashlib.sha256(authorization[7:].strip()).digest())
        if caller is None or caller.is_expired(self._clock()):
            raise _unauthorized("this API key is not known, or its time is over")
        return caller

    def _new_bucket(self) -> TokenBucket | None:
        return None if self.rate is None else TokenBucket(self.rate)


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """Read the key file.

    Raises
    ------
    BadSetting
        Saying what is wrong with it.
    """
    try:
        found = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), ApiKeyFile).keys
    except (OSError, ValueError) as error:
        raise _bad_file(path, str(error)) from error
    if len({key.sha256 for key in found}) < len(found) or len({key.name for key in found}) < len(found):
        raise _bad_file(path, "a name or a key twice")
    if any(key.expires_at is not None and key.expires_at.tzinfo is None for key in found):
        raise _bad_file(path, "a time without a zone; write expires_at = 2027-01-01T00:00:00Z")
    return found


def _keep_bucket(before: Caller | None, fresh: Callable[[], TokenBucket | None]) -> TokenBucket | None:
    """Keep the bucket of a caller whose key changes, so that a rotation gives no new allowance."""
    return fresh() if before is None else before._bucket


def _bad_file(path: Path, got: str) -> BadSetting:
    return BadSetting(
        "the file of API keys cannot be used",
        where="NPSRISK_API_KEYS_FILE",
        got=f"{path}: {got}",
        expected="TOML with [[keys]], each with name, sha256 and scopes",
    )


def _unauthorized(detail: str) -> Refusal:
    return Refusal(401, detail, headers={"www-authenticate": 'Bearer realm="npsrisk"'})
