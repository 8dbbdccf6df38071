"""Clients over real sockets: slow, silent, hostile or unknown ones get the right answer, and hold nothing for long."""

import hashlib
import socket
import ssl
import threading
from collections.abc import Iterator
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
from support.serving_examples import settings_in

from consignments.errors import BadSetting
from serving.http.connections import MAX_MORE_CONNECTIONS
from serving.http.protocol.tls import Certificate
from serving.http.server import listen


@pytest.fixture
def running(tmp_path: Path, bundle: Path) -> Iterator[Running]:
    with listening(tmp_path, bundle) as made:
        yield made


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


def test_one_that_does_not_read_its_answer_is_let_go(
    quick: None, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers larger than the buffers of both sides, asked for again and again and never read."""
    with running.connected() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        get = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        connection.settimeout(1)
        with pytest.raises(OSError, match=r"reset|Broken|timed out"):
            send_for_long(connection, get * 10)
        until(lambda: running.service.connections() == 0)
    assert "npsrisk_connections 1.0" in running.metrics()


def test_one_that_goes_on_sending_after_its_answer_is_let_go(quick: None, running: Running) -> None:
    with running.connected() as connection:
        connection.sendall(b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        assert status_of(connection.recv(65_536)) == 404
        with pytest.raises(OSError, match=r"reset|Broken"):
            send_for_long(connection, b"x", pause_seconds=0.01)


def test_an_open_connection_is_used_again_however_often(running: Running) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{running.port}", trust_env=False) as client:
        for number in range(5):
            assert (
                client.post(
                    "/v1/scores", json={"consignment_id": f"RB{number}", "channel": "postal"}
                ).status_code
                == 200
            )
        assert running.service.connections() == 1


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


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00\x01\x00", b"NONSENSE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
)
def test_what_is_not_http_is_told_so(running: Running, sent: bytes) -> None:
    with running.connected() as connection:
        connection.sendall(sent)
        assert problem_of(all_of(connection))["status"] == 400


def test_an_upgrade_is_not_taken(running: Running) -> None:
    headers = {
        "upgrade": "websocket",
        "connection": "upgrade",
        "sec-websocket-key": "x",
        "sec-websocket-version": "13",
    }
    response = httpx.get(f"http://127.0.0.1:{running.port}/health/live", headers=headers, trust_env=False)
    assert response.status_code == 200


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


KEYS = """
[[keys]]
name = "{name}"
sha256 = "{sha256}"
scopes = ["{scope}"]
{more}
"""


def key(name: str, scope: str = "score", more: str = "") -> str:
    return KEYS.format(name=name, sha256=hashlib.sha256(name.encode()).hexdigest(), scope=scope, more=more)


def test_each_key_gets_the_right_answer(tmp_path: Path, bundle: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text(
        key("good") + key("old", more="expires_at = 2020-01-01T00:00:00Z") + key("lab", "outcome")
    )
    settings = {
        "NPSRISK_API_KEYS_FILE": str(keys),
        "NPSRISK_RATE_LIMIT": "3/hour",
        "NPSRISK_MAX_BODY_BYTES": "2000",
    }
    with listening(tmp_path, bundle, **settings) as running:

        def ask(name: str | None, body: bytes = BODY) -> httpx.Response:
            headers = JSON | ({} if name is None else {"authorization": f"Bearer {name}"})
            url = f"http://127.0.0.1:{running.port}/v1/scores"
            return httpx.post(url, content=body, headers=headers, trust_env=False)

        told = {name: ask(name).status_code for name in (None, "nobody", "old", "lab", "good")}
        assert told == {None: 401, "nobody": 401, "old": 401, "lab": 403, "good": 200}
        assert ask("good", b" " * 3000).status_code == 413
        assert ask("nobody").headers["www-authenticate"].startswith("Bearer")
        assert [ask("good").status_code for _ in range(3)] == [200, 200, 429]
        assert 1000 < int(ask("good").headers["retry-after"]) <= 1200
        keys.write_text(key("new"))
        running.service.wake()
        until(lambda: ask("good").status_code == 401)
        assert ask("new").status_code == 200


def test_a_key_file_that_is_gone_is_told_and_the_keys_stay(tmp_path: Path, bundle: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text(key("reader", 'read", "metrics'))
    with listening(tmp_path, bundle, NPSRISK_API_KEYS_FILE=str(keys)) as running:
        keys.rename(tmp_path / "elsewhere")
        url = f"http://127.0.0.1:{running.port}"

        reader = {"authorization": "Bearer reader"}

        def warnings() -> list[str]:
            found: list[str] = httpx.get(f"{url}/health/ready", headers=reader, trust_env=False).json()[
                "warnings"
            ]
            return found

        until(lambda: "API keys: the changed file is refused" in " ".join(warnings()))
        metrics = httpx.get(f"{url}/metrics", headers=reader, trust_env=False)
        assert "npsrisk_settings_refused 1.0" in metrics.text
        (tmp_path / "elsewhere").rename(keys)
        until(lambda: warnings() == [])


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


def test_nobody_but_the_loop_holds_a_thread_for_a_connection(running: Running) -> None:
    before = threading.active_count()
    held = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(20)]
    until(lambda: running.service.connections() == 20)
    assert threading.active_count() == before
    for connection in held:
        connection.close()
