"""Clients over real sockets: slow, silent, hostile or unknown ones get the right answer, and hold nothing for long."""

import socket
import ssl
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from support.certificates import make_certificate
from support.examples import make_consignment
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
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEAD_SECONDS", "READ_SECONDS", "FLUSH_SECONDS"):
        monkeypatch.setattr(f"serving.http.connections.{name}", 0.2)
    monkeypatch.setattr("serving.http.requests.BODY_SECONDS", 0.2)


# Slow and silent clients


def test_one_that_says_nothing_is_let_go(quick: None, running: Running) -> None:
    with running.connected() as connection:
        assert all_of(connection) == b""


def test_one_whose_head_does_not_end_is_told_so(quick: None, running: Running) -> None:
    with running.connected() as connection:
        connection.sendall(HEAD)
        assert problem_of(all_of(connection))["status"] == 408


def test_one_that_drips_its_head_is_let_go_all_the_same(quick: None, running: Running) -> None:
    with running.connected() as connection:
        answer = b""
        connection.settimeout(0.05)
        for byte in HEAD * 20:
            try:
                connection.sendall(bytes([byte]))
                answer += connection.recv(65_536)
            except TimeoutError:
                continue
            except OSError:
                break
            if answer:
                break
        assert status_of(answer) == 408


def test_a_second_head_that_does_not_end_is_told_so_too(quick: None, running: Running) -> None:
    with running.connected() as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\nGET /health/live HT")
        answers = all_of(connection)
        assert status_of(answers) == 200
        assert b"HTTP/1.1 408" in answers


def test_one_whose_body_does_not_come_is_told_so(quick: None, running: Running) -> None:
    with running.connected() as connection:
        connection.sendall(HEAD + b"Content-Length: 100\r\n\r\n" + BODY)
        assert problem_of(all_of(connection))["detail"].startswith("The body did not arrive within")


def test_one_that_goes_on_sending_after_its_answer_is_let_go(quick: None, running: Running) -> None:
    with running.connected() as connection:
        connection.sendall(b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        assert status_of(connection.recv(65_536)) == 404
        with pytest.raises(OSError, match=r"reset|Broken"):
            send_for_long(connection, b"x", pause_seconds=0.01)


def test_while_others_hang_the_answers_go_on(running: Running) -> None:
    held = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(50)]
    for connection in held:
        connection.sendall(HEAD + b"Content-Length: 5000\r\n\r\n{")
    with httpx.Client(base_url=f"http://127.0.0.1:{running.port}", trust_env=False) as client:
        for number in range(20):
            response = client.post("/v1/scores", json={"consignment_id": f"RB{number}", "channel": "postal"})
            assert response.status_code == 200
    for connection in held:
        connection.close()


# Hostile ones


def test_a_head_without_end_is_refused(running: Running) -> None:
    with running.connected() as connection:
        connection.sendall(HEAD)
        answer = b""
        connection.settimeout(0.01)
        for number in range(1000):
            try:
                connection.sendall(b"X-%d: %s\r\n" % (number, b"a" * 1000))
                answer += connection.recv(65_536)
            except TimeoutError:
                continue
            except OSError:
                break
            if answer:
                break
        assert problem_of(answer)["status"] == 431


def test_past_the_bound_of_connections_the_next_one_is_told_to_come_again(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.http.connections.FULL_HEAD_SECONDS", 60.0)
    with listening(tmp_path, bundle, NPSRISK_MAX_CONNECTIONS="3") as running:
        held = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(3)]
        until(lambda: running.service.connections() == 3)
        url = f"http://127.0.0.1:{running.port}"
        refused = httpx.get(f"{url}/v1/model", trust_env=False)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        live = httpx.get(f"{url}/health/live", trust_env=False)
        assert (live.status_code, live.headers["connection"]) == (200, "close")
        more = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(MAX_MORE_CONNECTIONS)]
        with running.connected() as connection:
            assert problem_of(all_of(connection))["status"] == 503
        for connection in more:
            connection.close()
        held.pop().close()
        until(lambda: running.service.connections() == 2)
        assert httpx.get(f"http://127.0.0.1:{running.port}/health/live", trust_env=False).status_code == 200
        for connection in held:
            connection.close()


def test_one_address_cannot_take_all_connections(tmp_path: Path, bundle: Path) -> None:
    with listening(tmp_path, bundle, NPSRISK_MAX_CONNECTIONS_PER_ADDRESS="2") as running:
        url = f"http://127.0.0.1:{running.port}"
        held = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(2)]
        until(lambda: running.service.connections() == 2)
        assert httpx.get(f"{url}/v1/model", trust_env=False).status_code == 503
        assert httpx.get(f"{url}/health/live", trust_env=False).status_code == 200
        held.pop().close()
        until(lambda: running.service.connections() == 1)
        assert httpx.get(f"{url}/v1/model", trust_env=False).status_code == 200
        held.pop().close()


def test_many_large_bodies_at_once_are_refused_before_memory_is(tmp_path: Path, bundle: Path) -> None:
    with listening(tmp_path, bundle, NPSRISK_MAX_BODY_BYTES="100000") as running:
        held = [socket.create_connection(("127.0.0.1", running.port), timeout=20) for _ in range(9)]
        refused = held.pop()
        for connection in held:
            connection.sendall(HEAD + b"Content-Length: 99999\r\n\r\n" + b" " * 99_900)
        until(lambda: running.app.door._held == 8 * 99_900)
        refused.sendall(HEAD + b"Content-Length: 99999\r\n\r\n" + b" " * 1_000)
        answer = all_of(refused)
        assert problem_of(answer)["detail"].startswith("Too many large bodies at once")
        for connection in [*held, refused]:
            connection.close()
        url = f"http://127.0.0.1:{running.port}/v1/scores"
        until(lambda: running.app.door._held == 0)
        assert (
            httpx.post(url, json={"consignment_id": "RB1", "channel": "postal"}, trust_env=False).status_code
            == 200
        )


# Keys


def test_keys_change_without_a_restart_and_a_file_that_is_gone_is_told(tmp_path: Path, bundle: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text(describe_key("good", "score", "read", "metrics"))
    with listening(tmp_path, bundle, NPSRISK_API_KEYS_FILE=str(keys)) as running:
        url = f"http://127.0.0.1:{running.port}"

        def ask(name: str) -> int:
            return httpx.post(
                f"{url}/v1/scores", content=BODY, headers=bear(name), trust_env=False
            ).status_code

        def read(path: str) -> httpx.Response:
            return httpx.get(f"{url}{path}", headers=bear("new"), trust_env=False)

        assert ask("good") == 200
        keys.write_text(describe_key("new", "score", "read", "metrics"))
        running.service.wake()
        until(lambda: ask("good") == 401)
        assert ask("new") == 200
        keys.rename(tmp_path / "elsewhere")
        until(
            lambda: (
                "API keys: the changed file is refused" in " ".join(read("/health/ready").json()["warnings"])
            )
        )
        assert "npsrisk_settings_refused 1.0" in read("/metrics").text
        (tmp_path / "elsewhere").rename(keys)
        until(lambda: read("/health/ready").json()["warnings"] == [])


# TLS


def tls_settings(files: tuple[Path, Path]) -> dict[str, str]:
    return {"NPSRISK_TLS_CERT_FILE": str(files[0]), "NPSRISK_TLS_KEY_FILE": str(files[1])}


def common_name(port: int, certificate: Path) -> str:
    context = ssl.create_default_context(cafile=str(certificate))
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        subject: Any = secure.getpeercert()
        return str(dict(pair[0] for pair in subject["subject"])["commonName"])


def test_with_a_certificate_it_speaks_tls_and_nothing_else(tmp_path: Path, bundle: Path) -> None:
    files = make_certificate(tmp_path)
    with listening(tmp_path, bundle, **tls_settings(files)) as running:
        context = ssl.create_default_context(cafile=str(files[0]))
        url = f"https://localhost:{running.port}"
        with httpx.Client(base_url=url, verify=context, trust_env=False) as client:
            response = client.post(
                "/v1/scores", content=msgspec.json.encode(make_consignment()), headers=JSON
            )
            assert response.status_code == 200
            assert response.headers["strict-transport-security"] == "max-age=31536000"
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{running.port}/health/live", trust_env=False)
        assert running.certificate is not None
        assert running.certificate.context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_renewed_certificate_is_taken_without_a_restart_and_a_bad_one_is_not(
    tmp_path: Path, bundle: Path
) -> None:
    files = make_certificate(tmp_path)
    with listening(tmp_path, bundle, **tls_settings(files)) as running:
        assert common_name(running.port, files[0]) == "first"
        make_certificate(tmp_path, "second")
        running.service.wake()
        until(lambda: running.certificate is not None and not running.service.setting_faults)
        until(lambda: _common_name_or_none(running.port, files[0]) == "second")
        key_before = files[1].read_bytes()
        files[1].write_bytes(b"nonsense")
        running.service.wake()
        until(lambda: bool(running.service.setting_faults))
        assert "certificate and key: the changed file is refused" in running.service.list_warnings()[0]
        assert common_name(running.port, files[0]) == "second"
        files[1].write_bytes(key_before)
        running.service.wake()
        until(lambda: not running.service.setting_faults)


def _common_name_or_none(port: int, certificate: Path) -> str | None:
    try:
        return common_name(port, certificate)
    except ssl.SSLError:
        return None


def test_a_bad_certificate_stops_the_start(tmp_path: Path) -> None:
    files = make_certificate(tmp_path)
    for changes in ({"NPSRISK_TLS_KEY_FILE": ""}, {"NPSRISK_TLS_CERT_FILE": ""}):
        settings = {name: value for name, value in (tls_settings(files) | changes).items() if value}
        with pytest.raises(BadSetting, match="TLS needs a certificate and its key"):
            Certificate.from_settings(settings_in(tmp_path, **settings))
    with pytest.raises(BadSetting, match="the TLS certificate cannot be used"):
        Certificate(files[0], tmp_path / "nowhere")
    with pytest.raises(BadSetting, match="the TLS certificate cannot be used"):
        Certificate(files[1], files[1])
    secret = ec.generate_private_key(ec.SECP256R1())
    files[1].write_bytes(
        secret.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"word"),
        )
    )
    with pytest.raises(BadSetting, match="without a password"):
        Certificate(*files)


def test_an_address_that_is_taken_is_told_in_one_line() -> None:
    with (
        listen("127.0.0.1", 0) as taken,
        pytest.raises(BadSetting, match=r"cannot listen on.*in use") as told,
    ):
        listen("127.0.0.1", taken.getsockname()[1])
    assert "\n" not in str(told.value)
