"""The process that renders pages, as the service sees it: started with the first page, and again if it ended."""

import asyncio
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

from consignments.errors import ServiceFault
from operation.desk.messages import PageAnswer, PageRequest, decode_answer, encode
from serving.process.logging import logger
from serving.process.settings import Settings
from serving.process.side_process import build_command

COMMAND = build_command("operation.desk.worker")
MAX_WAITING = 200  # maximum number of pages that wait; further ones are refused
PAGE_SECONDS = 60.0  # maximum seconds for a page; then the process is ended and the page refused


class PageProcess:
    """The process that renders pages, one after the other. A thread waits for it."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._waiting, self._stopped = settings, 0, False
        self._turns = ThreadPoolExecutor(1, "pages")
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None

    async def render(self, request: PageRequest) -> PageAnswer:
        """Render a page."""
        if self._waiting >= MAX_WAITING:
            raise ServiceFault("too many pages are being rendered", todo="try again in some seconds")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._turns, self._exchange, request)
        finally:
            self._waiting -= 1

    async def stop(self) -> None:
        """End the process, which only reads, if there is one."""
        self._stopped, running = True, self._process  # the other thread may end it now
        if running is not None:
            running.kill()
        self._turns.shutdown(cancel_futures=True)
        self._end()

    def _exchange(self, request: PageRequest) -> PageAnswer:
        try:
            pipe = self._find_pipe()
            pipe.send_bytes(encode(request))
            if not pipe.poll(PAGE_SECONDS):
                raise TimeoutError
            return decode_answer(pipe.recv_bytes())
        except (OSError, EOFError) as error:
            logger.error("page process failed", error=error.__class__.__name__)
            self._end()
            raise ServiceFault("the page could not be rendered", todo="try again in some seconds") from error

    def _find_pipe(self) -> Connection:
        """Return the connection to the process, which is started if there is none."""
        if self._process is not None and self._process.poll() is not None:
            self._end()
        if self._pipe is None:
            ours, theirs = socket.socketpair()
            with theirs:
                self._process = subprocess.Popen(COMMAND, stdin=theirs.fileno())
            self._pipe = Connection(ours.detach())
            if self._stopped:  # while it was started
                raise EOFError
            self._pipe.send_bytes(self._settings.model_dump_json(by_alias=True).encode())
            logger.info("page process started", pid=self._process.pid)
        return self._pipe

    def _end(self) -> None:
        if self._process is not None and self._pipe is not None:
            self._process.kill()
            self._process.wait()
            self._pipe.close()
        self._process = self._pipe = None
