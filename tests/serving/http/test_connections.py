"""Clients over real sockets: slow, silent, hostile or unknown ones get the right answer, and hold nothing for long."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import httpx
import pytest
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
    statuses_of,
    until,
)
from support.serving_examples import settings_in

from consignments.errors import BadSetting
from serving.http.connections import MAX_EXCESS, MAX_HEAD_BYTES
from serving.http.server import listen, raise_file_limit


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEAD_SECONDS", "READ_SECONDS", "FLUSH_SECONDS"):
        monkeypatch.setattr(f"serving.http.connections.{name}", 0.2)
    monkeypatch.setattr("serving.http.server.HEAD_SECONDS", 0.2)
    monkeypatch.setattr("serving.http.requests.BODY_SECONDS", 0.2)


ALIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
CLOSED = b"\r\nconnection: close\r\n"


@pytest.mark.parametrize(
    ("sent", "statuses", "words"),
    [
        (b"", [], b""),
        (HEAD, [408], b""),
        (HEAD + b"Content-Length: 100\r\n\r\n" + BODY, [408], b"The body did not arrive within"),
        (ALIVE + HEAD, [200, 408], b""),
    ],
    ids=["nothing", "half a head", "half a body", "a second head"],
)
def test_one_that_falls_silent_is_told_so_and_let_go(
    quick: None, shared_running: Running, sent: bytes, statuses: list[int], words: bytes
) -> None:
    with shared_running.connected() as connection:
        connection.sendall(sent)
        answers = all_of(connection)
    assert (statuses_of(answers), words in answers) == (statuses, True)


@pytest.mark.parametrize(
    ("part", "pause_seconds", "head_seconds", "status"),
    [
        (b"X", 0.05, 0.2, 408),
        (b"X-A: %s\r\n" % (b"a" * 1000), 0.01, 20.0, 431),
        (b"X-A: %s\r\n\r\n" % (b"a" * MAX_HEAD_BYTES), 0.01, 20.0, 431),
    ],
    ids=["dripping", "endless", "large at once"],
)
def test_one_that_goes_on_with_its_head_is_let_go_all_the_same(
    shared_running: Running,
    monkeypatch: pytest.MonkeyPatch,
    part: bytes,
    pause_seconds: float,
    head_seconds: float,
    status: int,
) -> None:
    monkeypatch.setattr("serving.http.connections.HEAD_SECONDS", head_seconds)
    with shared_running.connected() as connection:
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
        assert (problem_of(answer)["status"], CLOSED in answer) == (status, True)


def test_one_that_goes_on_sending_after_its_answer_is_let_go(quick: None, shared_running: Running) -> None:
    with shared_running.connected() as connection:
        connection.sendall(b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        assert status_of(connection.recv(65_536)) == 404
        with pytest.raises(OSError, match=r"reset|Broken"):
            send_for_long(connection, b"x", pause_seconds=0.01)


def test_while_others_hang_the_answers_go_on(shared_running: Running) -> None:
    with ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(shared_running.connected()).sendall(HEAD + b"Content-Length: 5000\r\n\r\n{")
        assert {shared_running.post(BODY).status_code for _ in range(5)} == {200}


@contextmanager
def holding(running: Running, count: int, have: int = 0) -> Iterator[list[socket.socket]]:
    """Hold so many connections, with those that there are; they say nothing."""
    with ExitStack() as stack:
        held = [stack.enter_context(running.connected()) for _ in range(count - have)]
        until(lambda: running.service.connections() == count)
        yield held


@pytest.mark.parametrize(
    ("setting", "bound"), [("NPSRISK_MAX_CONNECTIONS", 3), ("NPSRISK_MAX_CONNECTIONS_PER_ADDRESS", 2)]
)
def test_past_the_bound_of_connections_of_all_or_of_one_address_the_next_one_is_told_to_come_again(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch, setting: str, bound: int
) -> None:
    monkeypatch.setattr("serving.http.connections.FULL_HEAD_SECONDS", 60.0)
    with listening(tmp_path, bundle, **{setting: str(bound)}) as running, holding(running, bound) as held:
        refused, live = running.get("/v1/model"), running.get("/health/live")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert (live.status_code, live.headers["connection"]) == (200, "close")
        with holding(running, bound + MAX_EXCESS, have=bound) as excess, running.connected() as connection:
            if setting == "NPSRISK_MAX_CONNECTIONS":
                assert running.get("/health/live").status_code == 200
            assert all_of(excess[0] if setting == "NPSRISK_MAX_CONNECTIONS" else connection) == b""
        held.pop().close()
        until(lambda: running.service.connections() == bound - 1)
        assert running.get("/v1/model").status_code == 200
        counted = running.service.metrics.read_counts("excess_connections")
        other = "total" if setting.endswith("ADDRESS") else "address"
        assert counted[other] == 0 < sum(counted.values())


@pytest.mark.parametrize(("hard", "is_enough"), [(1_199, False), (1_200, True)])
def test_the_limit_on_open_files_is_raised_or_refuses_the_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hard: int, is_enough: bool
) -> None:
    limits = {"soft": 1_024}
    monkeypatch.setattr("resource.getrlimit", lambda _: (limits["soft"], hard))
    monkeypatch.setattr("resource.setrlimit", lambda _, both: limits.update(soft=both[0]))
    with nullcontext() if is_enough else pytest.raises(BadSetting, match="1,000, with a hard limit of 1,199"):
        raise_file_limit(settings_in(tmp_path))
    assert limits["soft"] == (hard if is_enough else 1_024)


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
        until(lambda: running.app.door._held == 0)
        assert running.post(BODY).status_code == 200


def tls_settings(files: tuple[Path, Path]) -> dict[str, str]:
    return {"NPSRISK_TLS_CERT_FILE": str(files[0]), "NPSRISK_TLS_KEY_FILE": str(files[1])}


def shows(running: Running, certificate: Path) -> bool:
    return ssl.get_server_certificate(("127.0.0.1", running.port)) == certificate.read_text()


def test_with_a_certificate_it_speaks_tls_and_nothing_else(tmp_path: Path, bundle: Path) -> None:
    files = make_certificate(tmp_path)
    context = ssl.create_default_context(cafile=str(files[0]))
    with listening(tmp_path, bundle, **tls_settings(files)) as running:
        url = f"https://localhost:{running.port}/v1/scores"
        response = httpx.post(url, content=BODY, headers=JSON, verify=context, trust_env=False)
        assert response.status_code == 200
        assert response.headers["strict-transport-security"] == "max-age=31536000"
        with pytest.raises(httpx.HTTPError):
            running.get("/health/live")
        assert running.certificate.context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_connections_without_a_tls_handshake_are_counted_and_closed_in_time(
    tmp_path: Path, bundle: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = make_certificate(tmp_path)
    context = ssl.create_default_context(cafile=str(files[0]))
    limits = {"NPSRISK_MAX_CONNECTIONS_PER_ADDRESS": "2"}
    with listening(tmp_path, bundle, **limits, **tls_settings(files)) as running:

        def find_status(address: str) -> int:
            transport = httpx.HTTPTransport(verify=context, local_address=address, trust_env=False)
            with httpx.Client(transport=transport) as client:
                return client.get(f"https://localhost:{running.port}/v1/model").status_code

        with holding(running, 2) as (silent, _):
            assert all_of(silent) == b""
        until(lambda: running.service.connections() == 0)
        monkeypatch.setattr("serving.http.server.HEAD_SECONDS", 60.0)
        with holding(running, 2 + MAX_EXCESS), running.connected() as closed:
            assert all_of(closed) == b""
            assert find_status("127.0.0.2") == 200
        with holding(running, 2):
            assert find_status("127.0.0.1") == 503
        until(lambda: running.service.connections() == 0)
        assert find_status("127.0.0.1") == 200
        excess = running.service.metrics.read_counts("excess_connections")
        assert excess == {"address": MAX_EXCESS + 2, "total": 0}


def test_a_renewed_certificate_is_taken_while_running_and_no_bad_one(tmp_path: Path, bundle: Path) -> None:
    files = make_certificate(tmp_path)
    with listening(tmp_path, bundle, **tls_settings(files)) as running:
        assert shows(running, files[0])
        make_certificate(tmp_path, "second")
        running.service.wake()
        until(lambda: shows(running, files[0]))
        assert not running.service.setting_faults
        good = files[1].read_bytes()
        for content, is_refused in ((b"nonsense", True), (good, False)):
            files[1].write_bytes(content)
            running.service.wake()
            until(lambda is_refused=is_refused: bool(running.service.setting_faults) == is_refused)
            told = "certificate and key: the changed file is refused"
            assert (told in "".join(running.service.list_warnings())) == is_refused
            assert shows(running, files[0])


def test_an_address_that_is_taken_is_told_in_one_line() -> None:
    refused = pytest.raises(BadSetting, match=r"cannot listen on.*in use")
    with listen("127.0.0.1", 0) as taken, refused as told:
        listen("127.0.0.1", taken.getsockname()[1])
    assert "\n" not in str(told.value)
