"""Authentication by API keys, which are stored as SHA-256, with scopes, expiry and a rate limit for each key.

The keys are in a TOML file, which may change while the service runs:

    [[keys]]
    name = "mail centre 1"
    sha256 = "…"                      # printf %s "$KEY" | sha256sum
    scopes = ["score", "outcome"]     # and "read", "act", "alert", "personal", "metrics"
    expires_at = 2027-01-01T00:00:00Z # optional
    person = "K. Lee"                 # optional: who uses it, for actions and the log of refusals
    offices = ["Incheon"]             # optional: only consignments of these offices

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
from serving.process.watched_files import WatchedFiles

Scope = Literal["score", "outcome", "read", "act", "alert", "personal", "metrics"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
LOCAL_CALLER = "local"
"""Name of every caller if no keys are configured; then only this machine can call the service."""


class ApiKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One API key of the key file."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    scopes: Annotated[tuple[Scope, ...], msgspec.Meta(min_length=1)]
    expires_at: datetime | None = None
    person: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] | None = None
    offices: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] | None = None


class ApiKeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The API key file."""

    keys: Annotated[tuple[ApiKey, ...], msgspec.Meta(min_length=1)]


class TokenBucket:
    """A token bucket: full at the start, refilled at the rate limit. A large request may make it negative."""

    def __init__(self, rate: RateLimit, clock: Callable[[], float] = time.monotonic) -> None:
        self._size, self._per_second, self._clock = float(rate.amount), rate.amount / rate.seconds, clock
        self._tokens, self._at = self._size, clock()

    def take(self, records: int) -> float:
        """Spend one token for each record and return 0. If no token is left, spend none and return the seconds to wait."""
        now = self._clock()
        self._tokens = min(self._size, self._tokens + (now - self._at) * self._per_second)
        self._at = now
        if self._tokens < 1 and self._tokens < self._size:
            return (1 - self._tokens) / self._per_second
        self._tokens -= records
        return 0.0


class Caller:
    """An authenticated client with scopes, rate limit and end; `offices` and `only_office` bound what it sees."""

    def __init__(self, key: ApiKey, bucket: TokenBucket | None) -> None:
        self.name, self.person, self._scopes, self.bucket = key.name, key.person, key.scopes, bucket
        self.offices = None if key.offices is None else frozenset(key.offices)
        self.only_office = key.offices[0] if key.offices and len(set(key.offices)) == 1 else None
        self.expires_us = math.inf if key.expires_at is None else to_us(key.expires_at)

    def require(self, scope: Scope) -> None:
        """Raise a refusal with status 403 if the key lacks a scope."""
        if scope not in self._scopes:
            raise Refusal(
                403, f"The API key {self.name!r} lacks the scope {scope!r}. Use a key with this scope."
            )

    def may(self, scope: Scope) -> bool:
        """Check whether the key has a scope."""
        return scope in self._scopes

    def may_see(self, office: str | None) -> bool:
        """Check whether the key may read consignments of an office."""
        return self.offices is None or office in self.offices

    def spend(self, records: int) -> None:
        """Count records against the rate limit; raise a refusal with status 429 if it is exceeded."""
        if self.bucket is None:
            return
        wait = self.bucket.take(records)
        if wait:
            seconds = math.ceil(wait)
            detail = f"Rate limit exceeded for this API key. Try again in {seconds} s."
            raise Refusal(429, detail, headers={"retry-after": str(seconds)})


class Authenticator:
    """The register of clients that may call the service: those of the key file, or without one every client of this machine."""

    def __init__(self, path: Path | None, rate: RateLimit | None, clock: Clock = read_clock_us) -> None:
        self.path, self.rate, self._clock = path, rate, clock
        self._local = Caller(ApiKey(LOCAL_CALLER, "", SCOPES), self._new_bucket())
        self._callers: dict[bytes, Caller] = {}
        self.refresh = WatchedFiles(lambda: [path] if path else [], self._read).refresh

    @property
    def open(self) -> bool:
        """Return whether no API key is required."""
        return self.path is None

    def _read(self) -> None:
        """Read the key file; if it is not valid, an error is raised and the keys stay as they were."""
        if self.path is None:
            return
        keys = read_keys(self.path)
        # Key rotation does not reset the rate limit.
        buckets = {caller.name: caller.bucket for caller in self._callers.values()}
        self._callers = {
            bytes.fromhex(key.sha256): Caller(key, buckets.get(key.name) or self._new_bucket())
            for key in keys
        }

    def authenticate(self, authorization: bytes | None) -> Caller:
        """Find the client by the header `Authorization: Bearer KEY`; raise a refusal with status 401 if there is none."""
        if self.path is None:
            return self._local
        if authorization is None or authorization[:7].lower() != b"bearer ":
            raise _unauthorized("No API key was given. Send the header Authorization: Bearer KEY.")
        caller = self.find(hashlib.sha256(authorization[7:].strip()).digest())
        if caller is None:
            raise _unauthorized("This API key is unknown or has expired. Use a valid key.")
        return caller

    def find(self, sha256: bytes) -> Caller | None:
        """Find the client by the SHA-256 of its key; None if it is unknown or has expired. Without keys, every client is found."""
        if self.path is None:
            return self._local
        caller = self._callers.get(sha256)
        return None if caller is None or self._clock() >= caller.expires_us else caller

    def _new_bucket(self) -> TokenBucket | None:
        return None if self.rate is None else TokenBucket(self.rate)


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """Read the API key file; `BadSetting` if it cannot be read or is not valid."""
    try:
        found = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), ApiKeyFile).keys
    except (OSError, ValueError) as error:
        raise _bad_file(path, str(error)) from error
    if len({key.sha256 for key in found}) < len(found) or len({key.name for key in found}) < len(found):
        raise _bad_file(path, "a name or a key occurs twice")
    if any(key.expires_at is not None and key.expires_at.tzinfo is None for key in found):
        raise _bad_file(path, "expires_at has no time zone; write expires_at = 2027-01-01T00:00:00Z")
    return found


def _bad_file(path: Path, got: str) -> BadSetting:
    return BadSetting(
        "the API key file cannot be used",
        where="NPSRISK_API_KEYS_FILE",
        got=f"{path}: {got}",
        expected="TOML with [[keys]], each with name, sha256 and scopes",
    )


def _unauthorized(detail: str) -> Refusal:
    return Refusal(401, detail, headers={"www-authenticate": 'Bearer realm="npsrisk"'})
