"""What a service cannot start with is told in one line."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from support.cases import read_cases
from support.certificates import make_certificate
from support.databases import state_environment
from support.serving_examples import settings_in
from support.verbs import refuse


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory with a certificate, and with a key that has a password."""
    made = tmp_path_factory.mktemp("state")
    settings_in(made)
    make_certificate(made)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    secret, word = ec.generate_private_key(ec.SECP256R1()), serialization.BestAvailableEncryption(b"word")
    (made / "locked.pem").write_bytes(secret.private_bytes(*form, word))
    return made


@pytest.mark.parametrize("case", read_cases("refused_starts"))
def test_a_bad_setting_stops_the_start_in_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, case: dict[str, Any]
) -> None:
    """Each line has settings, words of the refusal, and the content of the file `given.txt` if there is one."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("serving.http.server.build_server", None)  # a start fails, and does not run on
    (folder / "given.txt").write_text(case.get("content", ""))
    certificate = (folder / "tls.crt").read_bytes()
    environment = state_environment(folder) | case["settings"]
    host = case.get("host", "127.0.0.1")
    (line,) = refuse(f"serve --port 0 --host {host}", **environment).strip().splitlines()
    assert [words for words in case["told"] if words not in line] == []
    assert "cret" not in line, "it shows no password"
    assert (folder / "tls.crt").read_bytes() == certificate, "also as the database"
