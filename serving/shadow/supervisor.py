"""Supervisor of the challenger's process: starts it, restarts it and reads its status without ever waiting for it."""

import os
import subprocess
import time
from pathlib import Path

import msgspec

from consignments.errors import BadSetting, BundleRefused
from models.signatures.key_holders import Approvers
from serving.deployment.releases import Release, find_release_folder, read_release
from serving.process.logging import logger
from serving.process.settings import Settings
from serving.process.side_process import build_command
from serving.shadow.store import ShadowCounters, ShadowStatus
from serving.shadow.worker import EXIT_REFUSED
from serving.telemetry.metrics import Metrics

INITIAL_WAIT_SECONDS, MAX_WAIT_SECONDS = 1.0, 60.0
"""Seconds to wait before a process that ended is started again; doubled each time, up to the maximum."""
STOP_SECONDS = 5.0
READ_BYTES = 65_536
COMMAND = build_command("serving.shadow.worker")
_decode = msgspec.json.Decoder(ShadowStatus).decode


class ShadowProcess:
    """The process of the published challenger, if there is one; `fault` says why it does not score."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self.release: Release | None = None
        self.fault: str | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self._seen: Path | None = None
        self._due, self._wait = 0.0, INITIAL_WAIT_SECONDS
        self._counted, self._rest = ShadowCounters(), b""

    def poll(self) -> None:
        """Start a newly published challenger, read its status, and restart its process if it ended."""
        try:
            folder = find_release_folder(self._settings.state_dir, "shadow")
            if folder != self._seen:
                self._switch_to(folder)
        except (BadSetting, BundleRefused) as error:
            self.fault, self.release = str(error), None
            self._seen = None  # what can be corrected is read again at the next call
            self.stop()
            return
        if self.process is not None:
            code = self.process.poll()
            self._read_status(self.process)
            if code is not None:
                self._handle_exit(code)
        if self.release is not None and self.process is None and time.monotonic() >= self._due:
            self._start()

    def stop(self) -> None:
        """End the process, if there is one."""
        process, self.process = self.process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._close(process)

    def _switch_to(self, folder: Path | None) -> None:
        self.stop()
        self._seen, self.fault, self.release = folder, None, None
        self._due, self._wait = 0.0, INITIAL_WAIT_SECONDS
        if folder is not None:
            self.release = read_release(folder, Approvers.read(self._settings.approvers_file), "shadow")

    def _start(self) -> None:
        process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        process.stdin.write(self._settings.model_dump_json(by_alias=True).encode() + b"\n")
        process.stdin.flush()
        self.process, self._counted, self._rest = process, ShadowCounters(), b""

    def _read_status(self, process: "subprocess.Popen[bytes]") -> None:
        """Read the status reports of the process, and record what is new in the last one."""
        assert process.stdout is not None
        *lines, self._rest = (self._rest + (process.stdout.read(READ_BYTES) or b"")).split(b"\n")
        if not lines:
            return
        report = _decode(lines[-1])
        self.fault = report.fault or None
        self._metrics.record_shadow(report.tally.subtract(self._counted), report.behind)
        self._counted = report.tally

    def _handle_exit(self, code: int) -> None:
        assert self.process is not None
        self._close(self.process)
        self.process = None
        self._due = time.monotonic() + self._wait
        if code == EXIT_REFUSED:
            self._due = float("inf")  # until another challenger is published
        else:
            self._metrics.counters["shadow_restarts"].inc()
            self._wait = min(2 * self._wait, MAX_WAIT_SECONDS)
        logger.error("challenger process ended", code=code, error=self.fault)

    def _close(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.close()
