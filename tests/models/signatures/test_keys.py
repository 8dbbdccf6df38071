"""Signing keys: files that only their owner reads, never replaced, and errors that say what to do."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from consignments.errors import BadInput
from models.signatures.keys import PASSPHRASE_VARIABLE, SigningKey, VerifyingKey

PLAIN = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()


def test_a_created_key_is_private_never_replaced_and_signs_after_loading(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "approver.key"
    created = SigningKey.create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(BadInput, match="there is a key already"):
        SigningKey.create(path)
    signature = SigningKey.load(path).sign(b"a record")
    assert created.public.verifies(signature, b"a record")
    assert not created.public.verifies(signature, b"another record")
    assert not created.public.verifies(b"", b"a record")
    assert VerifyingKey(created.public.text).key_id == created.public.key_id


def test_a_key_with_a_passphrase_opens_with_it_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "right")
    created = SigningKey.create(tmp_path / "a.key")
    assert b"ENCRYPTED" in (tmp_path / "a.key").read_bytes()
    assert SigningKey.load(tmp_path / "a.key").public.text == created.public.text
    for wrong in ("wrong", ""):
        monkeypatch.setenv(PASSPHRASE_VARIABLE, wrong)
        with pytest.raises(BadInput, match="cannot be opened"):
            SigningKey.load(tmp_path / "a.key")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "npsrisk keys create"),
        (b"", "cannot be opened"),
        (b"not a key", "cannot be opened"),
        (b"-----BEGIN PRIVATE KEY-----\n!!!\n", "cannot be opened"),
        (generate_private_key(SECP256R1()).private_bytes(*PLAIN), "not a signing key of npsrisk"),
    ],
    ids=["no file", "empty", "no key", "broken", "another kind"],
)
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "a.key").write_bytes(content)
    with pytest.raises(BadInput, match=said):
        SigningKey.load(tmp_path / "a.key")


@pytest.mark.parametrize("text", ["", "abc", "AAAA", "é" * 44, "A" * 10_000])
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="not a public key"):
        VerifyingKey(text)
