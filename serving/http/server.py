"""Service process: listening socket, server and orderly shutdown."""

import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import uvicorn
import uvloop

from consignments.errors import BadSetting
from consignments.workers import pause_garbage_collection
from serving.http.app import App, FurtherRoutes
from serving.http.connections import HEAD_SECONDS, build_connection_class
from serving.http.protocol.tls import Certificate
from serving.process.clock import Clock, read_clock_us
from serving.process.logging import configure_logging, logger
from serving.process.settings import Settings, find_unknown_settings
from serving.process.state_directory import lock_state, require_complete
from serving.service import Service

LOOPBACK_HOSTS = {"127.0.0.1", "::1", "localhost"}
KEEP_ALIVE_SECONDS = 30
BACKLOG = 2_048
RESERVED_FILES = 200  # of the database, snapshots and refused connections
SWITCH_INTERVAL_SECONDS = 0.001
"""Interpreter switch interval (Python's default: 5 ms): the log's writer thread waits that long before each statement."""
STOP_SECONDS = 10
"""Maximum seconds for unfinished requests after the service received a signal to stop."""
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
        secure = certificate is not None
        logger.info("listening", host=host, port=listener.getsockname()[1], tls=secure)
        if not secure and host not in LOOPBACK_HOSTS:
            logger.warning(
                "no TLS: API keys and records are sent unencrypted unless a proxy in front adds TLS"
            )
        gc.freeze()  # long-lived objects: garbage collection need not scan them while requests wait
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


class EventLoop(uvloop.Loop):
    """Event loop that limits the time of a TLS handshake, for which the server has no setting."""

    async def create_server(self, *args: Any, **options: Any) -> Any:
        """Listen; close a connection whose handshake takes longer than a request's head may."""
        limit = HEAD_SECONDS if options.get("ssl") else None
        return await super().create_server(*args, ssl_handshake_timeout=limit, **options)


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


def build_server(app: App, certificate: Certificate | None = None) -> uvicorn.Server:
    """Build the server of an application, which accepts connections on the sockets passed to its `run`."""
    service = app.service
    if certificate is not None:
        service.watch("certificate and key", certificate.refresh)
        service.get_certificate_end = lambda: certificate.ends_at
    limits = service.settings.max_connections, service.settings.max_connections_per_address
    config = uvicorn.Config(
        app,
        loop=f"{__name__}:{EventLoop.__name__}",
        http=build_connection_class(*limits, partial(service.metrics.count, "excess_connections")),
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
    server = uvicorn.Server(config)
    service.connections = lambda: len(server.server_state.connections)
    return server
