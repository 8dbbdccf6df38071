"""Clients over real sockets: slow, silent, hostile or unknown ones get the right answer, and hold nothing for long."""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from support.certificates import make_certificate
from support.listening import (
    BODY,
    HEAD,
    JSON,
    Running,
    all_of,
    listening,
    problem_of,
    send_for_long,
    status_of,
    until,
)
from support.serving_examples import bear, describe_key, settings_in

from consignments.errors import BadSetting
from serving.http.connections import MAX_MORE_CONNECTIONS
from serving.http.protocol.tls import Certificate
from serving.http.server import listen


@pytest.fixture
def running(shared_running: Running) -> Running:
    """One service for all: nothing here depends on what its log has."""
    return shared_running


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEAD_SECONDS", "READ_SECONDS", "FLUSH_SECONDS"):
        monkeypatch.setattr(f"serving.http.connections.{name}", 0.2)
    monkeypatch.setattr("serving.http.requests.BODY_SECONDS", 0.2)


# Slow and silent clients


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        (b"", None, ""),
        (HEAD, 408, ""),
        (HEAD + b"Content-Length: 100\r\n\r\n" + BODY, 408, "The body did not arrive within"),
    ],
    ids=["nothing", "half a head", "half a body"],
)
def test_one_that_falls_silent_is_told_so_and_let_go(
    quick: None, running: Running, sent: bytes, status: int | None, words: str
) -> None:
    with running.connected() as connection:
        connection.sendall(sent)
        answer = all_of(connection)
    if status is None:
        assert answer == b""
    else:
        problem = problem_of(answer)
        assert (problem["status"], problem["detail"].startswith(words)) == (status, True)


def test_a_second_head_that_does_not_end_is_told_so_too(quick: None, running: Running) -> None:
    with running.connected() as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\nGET /health/live HT")
        answers = all_of(connection)
        assert status_of(answers) == 200
        assert b"HTTP/1.1 408" in answers


@pytest.mark.parametrize(
    ("part", "pause_seconds", "head_seconds", "status"),
    [(b"X", 0.05, 0.2, 408), (b"X-A: %s\r\n" % (b"a" * 1000), 0.01, 20.0, 431)],
    ids=["dripping", "endless"],
)
def test_one_that_goes_on_with_its_head_is_let_go_all_the_same(
    running: Running,
    monkeypatch: pytest.MonkeyPatch,
    part: bytes,
    pause_seconds: float,
    head_seconds: float,
    status: int,
) -> None:
    monkeypatch.setattr("serving.http.connections.HEAD_SECONDS", head_seconds)
    with running.connected() as connection:
        connection.sendall(HEAD)
        answer = b""
        connection.settimeout(pause_seconds)
        for _ in range(1000):
            try:
                connection.sendall(part)
                answer += connection.recv(65_536)
            except TimeoutError:
                continue
            except OSError:
                break
            if answer:
                break
        assert problem_of(answer)["status"] == status


def test_one_that_goes_on_sending_after_its_answer_is_let_go(quick: None, running: Running) -> None:
    with running.connected() as connection:
        connection.sendall(b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        assert status_of(connection.recv(65_536)) == 404
        with pytest.raises(OSError, match=r"reset|Broken"):
            send_for_long(connection, b"x", pause_seconds=0.01)


def test_while_others_hang_the_answers_go_on(running: Running) -> None:
    with ExitStack() as stack, httpx.Client(trust_env=False) as client:
        for _ in range(50):
            stack.enter_context(running.connected()).sendall(HEAD + b"Content-Length: 5000\r\n\r\n{")
        for _ in range(20):
            response = client.post(f"http://127.0.0.1:{running.port}/v1/scores", content=BODY, headers=JSON)
            assert response.status_code == 200


# Hostile ones


@contextmanager
def holding(running: Running, count: int) -> Iterator[list[socket.socket]]:
    """Hold connections, which say nothing."""
    with ExitStack() as stack:
        held = [stack.enter_context(running.connected()) for _ in range(count)]
        until(lambda: running.service.connections() == count)
        yield held


def ask(running: Running, path: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{running.port}{path}", trust_env=False)


@pytest.mark.parametrize(
    ("setting", "bound"), [("NPSRISK_MAX_CONNECTIONS", 3), ("NPSRISK_MAX_CONNECTIONS_PER_ADDRESS", 2)]
)
def test_past_the_bound_of_connections_of_all_or_of_one_address_the_next_one_is_told_to_come_again(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch, setting: str, bound: int
) -> None:
    monkeypatch.setattr("serving.http.connections.FULL_HEAD_SECONDS", 60.0)
    with listening(tmp_path, bundle, **{setting: str(bound)}) as running, holding(running, bound) as held:
        refused = ask(running, "/v1/model")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        live = ask(running, "/health/live")
        assert (live.status_code, live.headers["connection"]) == (200, "close")
        if setting == "NPSRISK_MAX_CONNECTIONS":
            with ExitStack() as more:
                for _ in range(MAX_MORE_CONNECTIONS):
                    more.enter_context(running.connected())
                with running.connected() as connection:
                    assert problem_of(all_of(connection))["status"] == 503
        held.pop().close()
        until(lambda: running.service.connections() == bound - 1)
        assert ask(running, "/v1/model").status_code == 200


def test_many_large_bodies_at_once_are_refused_before_memory_is(tmp_path: Path, bundle: Path) -> None:
    large = HEAD + b"Content-Length: 99999\r\n\r\n" + b" " * 99_900
    with listening(tmp_path, bundle, NPSRISK_MAX_BODY_BYTES="100000") as running:
        with holding(running, 9) as held:
            refused = held.pop()
            for connection in held:
                connection.sendall(large)
            until(lambda: running.app.door._held == 8 * 99_900)
            refused.sendall(large[:1_100])
            assert problem_of(all_of(refused))["detail"].startswith("Too many large bodies at once")
        url = f"http://127.0.0.1:{running.port}/v1/scores"
        until(lambda: running.app.door._held == 0)
        assert httpx.post(url, content=BODY, headers=JSON, trust_env=False).status_code == 200


# Keys


def test_keys_change_without_a_restart_and_a_file_that_is_gone_is_told(tmp_path: Path, bundle: Path) -> None:
    keys, gone = tmp_path / "keys.toml", tmp_path / "elsewhere"
    keys.write_text(describe_key("good", "score", "read", "metrics"))
    with (
        listening(tmp_path, bundle, NPSRISK_API_KEYS_FILE=str(keys)) as running,
        httpx.Client(trust_env=False) as http,
    ):
        url = f"http://127.0.0.1:{running.port}"

        def post(name: str) -> int:
            return http.post(f"{url}/v1/scores", content=BODY, headers=bear(name)).status_code

        def read(path: str) -> httpx.Response:
            return http.get(f"{url}{path}", headers=bear("new"))

        def read_warnings() -> str:
            return " ".join(read("/health/ready").json()["warnings"])

        assert post("good") == 200
        keys.write_text(describe_key("new", "score", "read", "metrics"))
        running.service.wake()
        until(lambda: post("good") == 401)
        assert post("new") == 200
        keys.rename(gone)
        until(lambda: "API keys: the changed file is refused" in read_warnings())
        assert "npsrisk_settings_refused 1.0" in read("/metrics").text
        gone.rename(keys)
        until(lambda: read_warnings() == "")


# TLS


def tls_settings(files: tuple[Path, Path]) -> dict[str, str]:
    return {"NPSRISK_TLS_CERT_FILE": str(files[0]), "NPSRISK_TLS_KEY_FILE": str(files[1])}


def find_common_name(port: int, certificate: Path) -> str | None:
    """Find the name in the certificate of a service; None while it is not the one of the file."""
    context = ssl.create_default_context(cafile=str(certificate))
    try:
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            subject: Any = secure.getpeercert()
            return str(dict(pair[0] for pair in subject["subject"])["commonName"])
    except ssl.SSLError:
        return None


def test_with_a_certificate_it_speaks_tls_and_nothing_else(tmp_path: Path, bundle: Path) -> None:
    files = make_certificate(tmp_path)
    context = ssl.create_default_context(cafile=str(files[0]))
    with listening(tmp_path, bundle, **tls_settings(files)) as running:
        url = f"https://localhost:{running.port}/v1/scores"
        with httpx.Client(verify=context, trust_env=False) as client:
            response = client.post(url, content=BODY, headers=JSON)
        assert response.status_code == 200
        assert response.headers["strict-transport-security"] == "max-age=31536000"
        with pytest.raises(httpx.HTTPError):
            ask(running, "/health/live")
        assert running.certificate is not None
        assert running.certificate.context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_renewed_certificate_is_taken_while_running_and_no_bad_one(tmp_path: Path, bundle: Path) -> None:
    files = make_certificate(tmp_path)
    with listening(tmp_path, bundle, **tls_settings(files)) as running:
        assert find_common_name(running.port, files[0]) == "first"
        make_certificate(tmp_path, "second")
        running.service.wake()
        until(lambda: find_common_name(running.port, files[0]) == "second")
        assert not running.service.setting_faults
        good = files[1].read_bytes()
        for content, is_refused in ((b"nonsense", True), (good, False)):
            files[1].write_bytes(content)
            running.service.wake()
            until(lambda is_refused=is_refused: bool(running.service.setting_faults) == is_refused)
            told = "certificate and key: the changed file is refused"
            assert (told in "".join(running.service.list_warnings())) == is_refused
            assert find_common_name(running.port, files[0]) == "second"


def write_with_password(folder: Path, key: Path) -> None:
    secret = ec.generate_private_key(ec.SECP256R1())
    encryption = serialization.BestAvailableEncryption(b"word")
    key.write_bytes(
        secret.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda certificate, key: {"NPSRISK_TLS_KEY_FILE": ""}, "TLS needs a certificate and its key"),
        (lambda certificate, key: {"NPSRISK_TLS_CERT_FILE": ""}, "TLS needs a certificate and its key"),
        (lambda certificate, key: {"NPSRISK_TLS_KEY_FILE": "/nowhere"}, "the TLS certificate cannot be used"),
        (lambda certificate, key: {"NPSRISK_TLS_CERT_FILE": str(key)}, "the TLS certificate cannot be used"),
        (write_with_password, "without a password"),
    ],
    ids=["no key", "no certificate", "missing key", "a key as certificate", "password"],
)
def test_a_bad_certificate_stops_the_start(
    tmp_path: Path, spoil: Callable[[Path, Path], dict[str, str] | None], words: str
) -> None:
    files = make_certificate(tmp_path)
    given = tls_settings(files) | (spoil(*files) or {})
    with pytest.raises(BadSetting, match=words):
        Certificate.from_settings(
            settings_in(tmp_path, **{name: value for name, value in given.items() if value})
        )


def test_an_address_that_is_taken_is_told_in_one_line() -> None:
    with (
        listen("127.0.0.1", 0) as taken,
        pytest.raises(BadSetting, match=r"cannot listen on.*in use") as told,
    ):
        listen("127.0.0.1", taken.getsockname()[1])
    assert "\n" not in str(told.value)
