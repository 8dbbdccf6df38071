"""The process that renders pages, as the service sees it: started with the first page, and again if it ended."""

import asyncio
from asyncio.subprocess import PIPE, Process
from contextlib import suppress

from consignments.errors import ServiceFault
from operation.desk.messages import (
    LENGTH_BYTES,
    MAX_MESSAGE_BYTES,
    PageAnswer,
    PageRequest,
    add_length,
    decode_answer,
    encode_request,
)
from serving.process.logging import logger
from serving.process.settings import Settings
from serving.process.side_process import build_command

COMMAND = build_command("operation.desk.worker")
MAX_WAITING = 200
"""Maximum number of pages that wait; further ones are refused."""
PAGE_SECONDS = 60.0
"""Maximum seconds for a page; then the process is ended and the page refused."""
STOP_SECONDS = 5.0


class PageProcess:
    """The process that renders pages, one after the other."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: Process | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def render(self, request: PageRequest) -> PageAnswer:
        """Render a page."""
        if self._waiting >= MAX_WAITING:
            raise ServiceFault("too many pages are being rendered", todo="try again in some seconds")
        self._waiting += 1
        try:
            async with self._turn:
                return await self._exchange(encode_request(request))
        finally:
            self._waiting -= 1

    async def stop(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            await _kill(process)

    async def _exchange(self, message: bytes) -> PageAnswer:
        process = self._process
        if process is None or process.returncode is not None:
            process = self._process = await self._start()
        done = False
        try:
            async with asyncio.timeout(PAGE_SECONDS):
                answer = decode_answer(await _ask(process, message))
            done = True
            return answer
        except (TimeoutError, OSError, EOFError) as error:
            logger.error("page process failed", error=error.__class__.__name__)
            raise ServiceFault("the page could not be rendered", todo="try again in some seconds") from error
        finally:
            if not done:  # also if the request was cancelled: the answer that is under way belongs to nobody
                self._process = None
                await asyncio.shield(_kill(process))

    async def _start(self) -> Process:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, stdin=PIPE, stdout=PIPE, limit=MAX_MESSAGE_BYTES
        )
        assert process.stdin is not None
        process.stdin.write(add_length(self._settings.model_dump_json(by_alias=True).encode()))
        logger.info("page process started", pid=process.pid)
        return process


async def _ask(process: Process, message: bytes) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(add_length(message))
    await process.stdin.drain()
    length = int.from_bytes(await process.stdout.readexactly(LENGTH_BYTES), "big")
    return await process.stdout.readexactly(length)


async def _kill(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()
