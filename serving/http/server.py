"""Service process: listening socket, server and orderly shutdown."""

import asyncio
import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress

import uvicorn

from consignments.errors import BadSetting
from consignments.workers import pause_garbage_collection
from serving.http.app import App, FurtherRoutes
from serving.http.connections import HEAD_SECONDS, MAX_EXCESS, Connection, ConnectionCounts
from serving.http.protocol.tls import Certificate
from serving.process.clock import Clock, read_clock_us
from serving.process.logging import configure_logging, logger
from serving.process.settings import Settings, find_unknown_settings
from serving.process.state_directory import lock_state, require_complete
from serving.service import Service

LOOPBACK_HOSTS = {"127.0.0.1", "::1", "localhost"}
KEEP_ALIVE_SECONDS = 30
BACKLOG = 2_048
RESERVED_FILES = 100 + MAX_EXCESS  # of the database, snapshots and refused connections
ACCEPT_PAUSE_SECONDS = 1.0
"""Pause after a connection could not be accepted, as when the machine has no more files."""
SWITCH_INTERVAL_SECONDS = 0.001
"""Interpreter switch interval (Python's default: 5 ms): the log's writer thread waits that long before each statement."""
STOP_SECONDS = 10  # maximum seconds for unfinished requests after the service received a signal to stop
GC_NEW_OBJECTS = 5_000
"""New container objects before the garbage collector looks for cycles. With more, a collection takes longer than a batch."""


def serve(
    host: str,
    port: int,
    settings: Settings,
    clock: Clock = read_clock_us,
    elapsed: Clock | None = None,
    *,
    further: Sequence[FurtherRoutes] = (),
    accept_clock: bool = False,
    accept_loss: bool = False,
) -> None:
    """Run the service until SIGTERM or SIGINT, with further routes. SIGHUP makes it check files and models at once."""
    if settings.api_keys_file is None and host not in LOOPBACK_HOSTS:
        raise BadSetting(
            "without API keys the service can listen on a loopback address only",
            where="NPSRISK_API_KEYS_FILE",
            got=f"--host {host}",
            todo="set it to a file of API keys, or use --host 127.0.0.1",
        )
    raise_file_limit(settings)
    with lock_state(settings.state_dir), listen(host, port) as listener:
        require_complete(settings.state_dir)
        configure_logging()
        for name, near in find_unknown_settings(os.environ).items():
            logger.warning("unknown setting ignored", name=name, did_you_mean=near or None)
        # The server raises these signals again after it has stopped; the process then ends with exit code 0.
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, lambda _number, _frame: sys.exit(0))
        certificate = Certificate.from_settings(settings)
        with pause_garbage_collection(), ExitStack() as failing:
            service = Service(settings, clock, elapsed, accept_clock=accept_clock, accept_loss=accept_loss)
            failing.callback(service.close)
            app = App(service, *further)
            service.open()
            failing.pop_all()
            gc.freeze()  # long-lived objects: garbage collection need not scan them, neither now nor while requests wait
        secure = certificate is not None
        logger.info("listening", host=host, port=listener.getsockname()[1], tls=secure)
        if not secure and host not in LOOPBACK_HOSTS:
            logger.warning(
                "no TLS: API keys and records are sent unencrypted unless a proxy in front adds TLS"
            )
        gc.set_threshold(GC_NEW_OBJECTS)
        sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
        build_server(app, certificate).run(sockets=[listener])


def raise_file_limit(settings: Settings) -> None:
    """Raise the limit on open files to the hard limit; `BadSetting` if that is too low for the connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < settings.max_connections + RESERVED_FILES:
        raise BadSetting(
            "more connections than the limit on open files allows",
            where="NPSRISK_MAX_CONNECTIONS",
            got=f"{settings.max_connections:,}, with a hard limit of {hard:,} open files, of which {RESERVED_FILES} are reserved",
            todo="set it lower, or raise the limit (LimitNOFILE, ulimit -Hn)",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def listen(host: str, port: int) -> socket.socket:
    """Open the socket that accepts connections; `BadSetting` if the address cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        raise BadSetting(
            "cannot listen on this address",
            where=f"--host {host} --port {port}",
            got=getattr(error, "strerror", None) or str(error),
            todo="stop the other process, or choose another address or port",
        ) from error


class LimitedServer(uvicorn.Server):
    """A server that counts connections from their acceptance on, so before TLS, and limits the time of a handshake."""

    def __init__(self, config: uvicorn.Config, counts: ConnectionCounts) -> None:
        super().__init__(config)
        self._counts, self._tasks = counts, set[asyncio.Task[None]]()
        self._accepting: list[asyncio.Task[None]] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, and accept connections on the sockets."""
        await super().startup(sockets=[])
        self._accepting = [asyncio.create_task(self._accept(each)) for each in sockets or ()]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more connections, finish the requests and stop the application."""
        for task in self._accepting:
            task.cancel()
        await super().shutdown(sockets)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        while True:
            try:
                client, (address, *_) = await loop.sock_accept(listener)
            except OSError as error:
                logger.error("no connection can be accepted", error=error.strerror)
                await asyncio.sleep(ACCEPT_PAUSE_SECONDS)
                continue
            if not self._counts.admits(address):
                client.close()
                continue
            task = loop.create_task(self._hold(client, address))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _hold(self, client: socket.socket, address: str) -> None:
        """Serve a connection until it is closed."""
        loop, secure = asyncio.get_running_loop(), self.config.ssl
        with client, self._counts.hold(address) as full, suppress(OSError):  # raised without a handshake
            connection = Connection(self.config, self.server_state, self.lifespan.state, full=full)
            limit = None if secure is None else HEAD_SECONDS
            transport, _ = await loop.connect_accepted_socket(
                lambda: connection, client, ssl=secure, ssl_handshake_timeout=limit
            )
            try:
                await connection.closed.wait()
            finally:
                transport.abort()


def build_server(app: App, certificate: Certificate | None = None) -> LimitedServer:
    """Build the server of an application, which accepts connections on the sockets passed to its `run`."""
    service = app.service
    if certificate is not None:
        service.watch("certificate and key", certificate.refresh)
        service.get_certificate_end = lambda: certificate.ends_at
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=Connection,
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="error",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        ssl_context_factory=None if certificate is None else lambda *_: certificate.context,
    )
    limits = service.settings.max_connections, service.settings.max_connections_per_address
    counts = ConnectionCounts(*limits, service.metrics)
    service.connections = lambda: counts.total
    return LimitedServer(config, counts)
