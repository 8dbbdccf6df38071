"""A way to a server that can be cut and mended, so that tests need not stop the server itself."""

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import NamedTuple


class Trap(NamedTuple):
    """When a connection is lost: as soon as a client says a word, which the server hears or not."""

    word: bytes
    heard: bool


class TcpProxy:
    """Passes on what clients and a server send each other, from a port of its own."""

    def __init__(self, host: str, port: int) -> None:
        self._server = host, port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.trap: Trap | None = None  # springs once
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listen()

    def cut(self) -> None:
        """End all connections, and refuse new ones."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            _hang_up(each)
        for thread in self._threads:
            thread.join(10)
        for each in self._open:
            each.close()
        self._open, self._threads = [], []

    def mend(self) -> None:
        """Take connections again."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._listen()

    def _listen(self) -> None:
        self._start(self._accept, self._listener)

    def _start(self, run: Callable[..., None], *given: object) -> None:
        self._threads.append(threading.Thread(target=run, args=given, daemon=True))
        self._threads[-1].start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, server = listener.accept()[0], socket.create_connection(self._server)
                self._open += [client, server]
                lost = threading.Event()
                self._start(self._ask, client, server, lost)
                self._start(self._answer, server, client, lost)

    def _ask(self, client: socket.socket, server: socket.socket, lost: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65_536):
                trap = self.trap
                if trap is not None and trap.word in data:
                    self.trap = None
                    lost.set()
                    if not trap.heard:
                        break
                server.sendall(data)
        _hang_up(server, socket.SHUT_WR if lost.is_set() else socket.SHUT_RDWR)
        if lost.is_set():
            _hang_up(client)

    def _answer(self, server: socket.socket, client: socket.socket, lost: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while (data := server.recv(65_536)) and not lost.is_set():
                client.sendall(data)
        for each in (server, client):
            _hang_up(each)


def _hang_up(each: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(how)
