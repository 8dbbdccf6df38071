"""The process that serves: its socket, its server, and its orderly end."""

import gc
import signal
import socket
import sys

import uvicorn

from consignments.errors import BadSetting
from serving.http.app import App
from serving.http.connections import limit_connections
from serving.http.tls import Certificate
from serving.process.clock import Clock, read_clock_us
from serving.process.logging import configure_logging, logger
from serving.process.settings import Settings
from serving.process.state_directory import StateLock
from serving.service import Service

LOOPBACK_HOSTS = {"127.0.0.1", "::1", "localhost"}
KEEP_ALIVE_SECONDS = 30
BACKLOG = 2_048
SWITCH_INTERVAL_SECONDS = 0.001
"""How long the thread that writes the log may wait for its turn, which it needs for each statement; 5 ms by default in Python."""
STOP_SECONDS = 10
"""How long calls that are under way may take when the service is told to stop."""


def serve(host: str, port: int, settings: Settings, clock: Clock = read_clock_us) -> None:
    """Run the service until it is told to stop (SIGTERM, SIGINT); SIGHUP looks for a new model, keys and certificate at once.

    Parameters
    ----------
    host : str
        Without API keys only a loopback address.
    port : int
        0: any free one; it is logged.
    settings : Settings
    clock : callable

    Raises
    ------
    BadSetting
        Where a setting is wrong, or the address cannot be had.
    ServiceFault
        Where the state directory is taken, or the log cannot be used.
    """
    if settings.api_keys_file is None and host not in LOOPBACK_HOSTS:
        raise BadSetting(
            "without API keys the service listens on loopback only",
            where="NPSRISK_API_KEYS_FILE",
            got=f"--host {host}",
            todo="name a file of keys, or serve on 127.0.0.1",
        )
    with StateLock(settings.state_dir), listen(host, port) as listener:
        configure_logging()
        _exit_on_signals()
        service = Service(settings, clock)
        app, certificate = App(service), Certificate.from_settings(settings)
        service.open()
        secure = certificate is not None
        logger.info("listening", host=host, port=listener.getsockname()[1], tls=secure)
        if not secure and host not in LOOPBACK_HOSTS:
            logger.warning("keys and records travel readable unless a proxy before this service speaks TLS")
        gc.freeze()  # what is there now stays: collections need not walk through it while calls wait
        sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
        build_server(app, certificate).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """Open the socket that takes connections.

    Raises
    ------
    BadSetting
        Where the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        raise BadSetting(
            "the address cannot be listened on",
            where=f"--host {host} --port {port}",
            got=getattr(error, "strerror", None) or str(error),
            todo="end what listens there, or choose another port",
        ) from error


def build_server(app: App, certificate: Certificate | None = None) -> uvicorn.Server:
    """Build the server of an application, which takes connections from the sockets it is run with.

    The service watches the files of the certificate from now on.
    """
    service = app.service
    if certificate is not None:
        service.watch("certificate and key", certificate.refresh)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            loop="uvloop",
            http=limit_connections(service.settings.max_connections),
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
    )
    service.connections = lambda: len(server.server_state.connections)
    return server


def _exit_on_signals() -> None:
    """Let SIGTERM and SIGINT end the process with exit code 0; the server raises them anew once it has stopped."""
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda _number, _frame: sys.exit(0))
