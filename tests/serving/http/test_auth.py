"""API keys: known only by their hash, with scopes, an expiry and a rate; changed without a restart."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.serving_examples import describe_key

from consignments.errors import BadSetting
from serving.http.auth import Authenticator, Scope, TokenBucket
from serving.http.problems import Refusal
from serving.process.settings import RateLimit

HOUR = RateLimit(3600, 3600)


def access(path: Path, text: str, rate: RateLimit | None = None) -> Authenticator:
    path.write_text(text)
    return Authenticator(path, rate)


def status_of(entry: Authenticator, header: bytes | None, scope: Scope = "score", records: int = 1) -> int:
    try:
        caller = entry.authenticate(header)
        caller.require(scope)
        caller.spend(records)
    except Refusal as refusal:
        return refusal.status
    return 200


@pytest.mark.parametrize(
    ("header", "scope", "status"),
    [
        (b"Bearer right", "score", 200),
        (b"bearer right", "score", 200),
        (b"Bearer right", "outcome", 403),
        (b"Bearer wrong", "score", 401),
        (b"Bearer ", "score", 401),
        (b"Basic right", "score", 401),
        (None, "score", 401),
    ],
)
def test_a_key_opens_what_its_scopes_say(
    tmp_path: Path, header: bytes | None, scope: Scope, status: int
) -> None:
    assert status_of(access(tmp_path / "keys", describe_key("right")), header, scope) == status


def test_without_a_key_file_everybody_on_this_machine_is_let_in() -> None:
    entry = Authenticator(None, None)
    assert entry.open
    assert status_of(entry, None, "outcome") == 200


def test_a_key_ends_with_its_time(tmp_path: Path) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    for end, status in (
        ("2020-01-01T00:00:00Z", 401),
        ("2999-01-01T00:00:00Z", 200),
        (soon.isoformat(), 200),
    ):
        entry = access(tmp_path / "keys", describe_key("right", more=f"expires_at = {end}"))
        assert status_of(entry, b"Bearer right") == status


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "keys"),
        ("[[keys]]\nname = 'a'", "sha256"),
        (describe_key("k", "everything"), "everything"),
        (describe_key("k") + describe_key("k"), "twice"),
        (describe_key("k", more="expires_at = 2027-01-01T00:00:00"), "zone"),
    ],
)
def test_a_bad_key_file_stops_the_start(tmp_path: Path, text: str, wrong: str) -> None:
    with pytest.raises(BadSetting, match=rf"(?s)^NPSRISK_API_KEYS_FILE.*{wrong}"):
        access(tmp_path / "keys", text)


def test_a_key_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"^NPSRISK_API_KEYS_FILE"):
        Authenticator(tmp_path / "nowhere", None)


def test_a_bucket_gives_its_rate_and_no_more() -> None:
    now = [0.0]
    bucket = TokenBucket(RateLimit(2, 1), clock=lambda: now[0])
    assert [bucket.take(1), bucket.take(1)] == [0, 0]
    assert bucket.take(1) == pytest.approx(0.5)
    now[0] = 0.5
    assert bucket.take(1) == 0


def test_a_large_call_passes_once_and_is_paid_for_later() -> None:
    now = [0.0]
    bucket = TokenBucket(RateLimit(10, 1), clock=lambda: now[0])
    assert bucket.take(30) == 0
    assert bucket.take(1) == pytest.approx(2.1)
    now[0] = 2.1
    assert bucket.take(1) == 0


def test_a_key_that_used_up_its_rate_is_told_when_to_come_back(tmp_path: Path) -> None:
    entry = access(tmp_path / "keys", describe_key("right"), HOUR)
    caller = entry.authenticate(b"Bearer right")
    caller.spend(3610)
    with pytest.raises(Refusal) as refused:
        caller.spend(1)
    assert refused.value.status == 429
    assert 10 <= int(refused.value.headers["retry-after"]) <= 11
