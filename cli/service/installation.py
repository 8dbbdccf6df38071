"""Checks of an installation: what was found and, if it is wrong or a warning, what to do."""

import os
import platform
import pwd
import re
import shutil
import sqlite3
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from cli.stores import require_store
from consignments.errors import NpsriskError
from consignments.timestamps import to_datetime
from features.history.data_keys import DataKeys
from models.signatures.key_holders import Approvers
from serving.deployment.releases import find_release_folder
from serving.encryption.vault import Vault
from serving.event_log.databases.database import find_log_writer
from serving.event_log.log import check_vault
from serving.event_log.reader import LogReader
from serving.http.auth import read_keys
from serving.http.protocol.tls import Certificate
from serving.http.server import raise_file_limit
from serving.messages.scoring import watch_mappings
from serving.process.clock import describe_start, read_clock_us
from serving.process.settings import Settings, find_unknown_settings
from serving.process.state_directory import require_complete
from serving.scoring.decisions import watch_offices
from serving.scoring.loaded_model import load_published
from serving.scoring.model_updates import read_releases
from serving.service import find_last_recorded, require_standby_database
from serving.state.snapshots import Snapshots

MIN_FREE_BYTES = 2_000_000_000
EXPIRY_WARNING = timedelta(days=30)
OTHERS = stat.S_IRWXG | stat.S_IRWXO


class DoctorFinding(NamedTuple):
    """The result of one check: what was found and what to do, which is shown only if it is wrong or a warning."""

    found: str
    todo: str = ""
    check: str = ""
    ok: bool = True
    warning: bool = False

    def __str__(self) -> str:
        word = "WRONG" if not self.ok else "warn " if self.warning else "ok   "
        return f"{word} {self.check}: {self.found}{f'; {self.todo}' if self.todo else ''}"


Results = Iterator[DoctorFinding]
build_fault = partial(DoctorFinding, ok=False)
"""Builds the result of a check that failed; without a name it has that of its group of checks."""


def examine(settings: Settings) -> Iterator[DoctorFinding]:
    """Run all checks. An error of a check is its result, so that the others run too."""
    checks: dict[str, Callable[[Settings], Results]] = {
        "settings": _check_settings,
        "state directory": _check_state_directory,
        "event log": _check_log,
        "standby": _check_standby,
        "files": _check_files,
        "model": _check_model,
        "approvers": _check_approvers,
        "API keys": _check_api_keys,
        "TLS": _check_tls,
        "model store": _check_store,
    }
    for name, check in checks.items():
        try:
            for each in check(settings):
                todo = "" if each.ok and not each.warning else each.todo
                yield each._replace(check=each.check or name, todo=todo)
        except (NpsriskError, OSError) as error:
            yield build_fault(str(error), check=name)


def _check_settings(settings: Settings) -> Results:
    versions = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    yield DoctorFinding(f"npsrisk {version('npsrisk')}, {versions}", check="versions")
    for name, near in find_unknown_settings(os.environ).items():
        yield build_fault(f"{name} is not a setting", f"did you mean {near}?" if near else "remove it")
    raise_file_limit(settings)
    yield DoctorFinding(f"read from the environment and {os.environ.get('NPSRISK_SETTINGS', 'no file')}")


def _check_state_directory(settings: Settings) -> Results:
    folder = settings.state_dir
    place = folder if folder.exists() else Path()
    free, todo = shutil.disk_usage(place).free, "free space, or move the state directory"
    yield DoctorFinding(f"{free / 1e9:,.1f} GB free at {place}", todo, "disk", free >= MIN_FREE_BYTES)
    if not folder.is_dir():
        yield build_fault(f"{folder} does not exist", "set NPSRISK_STATE_DIR, or start the service once")
        return
    require_complete(folder)
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield build_fault(f"{folder} cannot be written", "run as the user of the service")
    for path in (folder, *sorted(folder.glob("events.db*")), *sorted(folder.glob("*key*"))):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & OTHERS:
            todo = f"chmod {'700' if path.is_dir() else '600'} {path}"
            yield build_fault(f"others can use {path} (mode {mode:o})", todo, "permissions")
    yield DoctorFinding(str(folder.resolve()))


def _check_log(settings: Settings) -> Results:
    snapshots = Snapshots(settings.snapshots_dir)
    newest = snapshots.find_newest_sequence()  # before the log: a running service writes both
    with LogReader.open_to_read(settings.database_url) as log:
        yield DoctorFinding(f"log {log.log_id} with {log.last_sequence:,} entries, head {log.head[:12]}")
        if newest > log.last_sequence:
            about, _ = snapshots.read(snapshots.list_newest_first()[0])
            if about.log_id == log.log_id:
                found = f"the log lacks entries: a snapshot has {newest:,}"
                yield build_fault(found, "restore its newest copy; if they are lost, see serve --accept-loss")
        (any_us, own_us), now_us = find_last_recorded(log), read_clock_us()
        now, last = (to_datetime(us).isoformat(timespec="seconds") for us in (now_us, any_us))
        found = f"{now}, last entry {last}" if any_us else f"{now}, no entry of the service yet"
        fault = describe_start(now_us, any_us, own_us)
        todo = f"{fault}: correct the system clock; if it is right, start once with --accept-clock"
        yield DoctorFinding(found, todo, "clock", ok=not fault)
        try:
            check_vault(log, Vault.load(settings.data_key_file))
        except NpsriskError as error:
            yield build_fault(str(error), check="keys")
        else:
            yield DoctorFinding(f"the keys of {settings.data_key_file} fit the log", check="keys")


def _check_standby(settings: Settings) -> Results:
    if not settings.standby:
        yield DoctorFinding("off: another service on the same log is refused")
        return
    require_standby_database(settings)
    writer = find_log_writer(settings.database_url)
    if writer is None:
        yield build_fault("no service is active", "start npsrisk serve")
    elif writer.sign is None:
        todo = "set NPSRISK_STANDBY for this service too, and use one database role for all; if it is starting, wait"
        yield build_fault(f"{writer.name} is active and gives no signs of life", todo)
    else:
        yield DoctorFinding(f"{writer.name} is active")


def _check_files(settings: Settings) -> Results:
    watch_offices(settings.offices_file)
    watch_mappings(settings.mappings_dir)
    offices, mappings = settings.offices_file or "none", settings.mappings_dir or "none"
    yield DoctorFinding(f"offices {offices}, mappings {mappings}")


def _check_model(settings: Settings) -> Results:
    folder = find_release_folder(settings.state_dir)
    if folder is None:
        yield build_fault("no model is published, so rules score", "run npsrisk publish")
        return
    # As the service loads it. The keys do not matter, because no consignment is read.
    model = load_published(folder, settings, Vault(DataKeys.create()))
    yield DoctorFinding(f"{model.name} in {folder}")
    assert model.release is not None
    assert model.release.record is not None
    versions: dict[int, str] = {}
    with suppress(NpsriskError), LogReader.open_to_read(settings.database_url) as log:
        versions = read_releases(log, model.release.name)
    newest = max(versions, default=0)
    if newest > model.release.record.number:
        found = f"version {versions[newest]} decided before, and was approved later"
        yield build_fault(found, "if nobody went back on purpose, run npsrisk publish")


def _check_approvers(settings: Settings) -> Results:
    approvers = Approvers.read(settings.approvers_file)
    found = f"{approvers.approver_count} may approve, {approvers.signatures} of them must sign ({approvers.where})"
    enough = approvers.approver_count >= approvers.signatures
    yield DoctorFinding(found, "run npsrisk keys create or npsrisk keys trust", ok=enough)
    user = SystemUser.find_service_user(settings.state_dir)
    writable = user.find_writable(settings.approvers_file)
    if writable is not None:
        local = settings.api_keys_file is None  # without API keys only this machine reaches the service
        yield DoctorFinding(
            f"the user of the service, {user.name}, can write {writable}, and so approve a model",
            "let root own the file and its folder, for example /etc/npsrisk, or set NPSRISK_APPROVERS_FILE",
            "rights of approvers",
            ok=local,
            warning=local,
        )


def _check_api_keys(settings: Settings) -> Results:
    if settings.api_keys_file is None:
        yield DoctorFinding("none: the service answers on loopback only")
        return
    keys = read_keys(settings.api_keys_file)
    yield DoctorFinding(f"{len(keys)} in {settings.api_keys_file}")
    for key in keys:
        if key.expires_at is not None and key.expires_at - datetime.now(UTC) < EXPIRY_WARNING:
            found = f"key {key.name!r} expires on {key.expires_at.date()}"
            yield build_fault(found, "add a new key, then remove this one")


def _check_tls(settings: Settings) -> Results:
    certificate = Certificate.from_settings(settings)
    if certificate is None:
        yield DoctorFinding("off: a proxy must add it")
    elif certificate.ends_at - datetime.now(UTC) < EXPIRY_WARNING:
        yield build_fault(f"the certificate ends on {certificate.ends_at.date()}", "renew it")
    else:
        yield DoctorFinding(f"certificate {settings.tls_cert_file}")
    if settings.tls_key_file is not None and settings.tls_key_file.stat().st_mode & stat.S_IRWXO:
        yield build_fault(f"every user can read {settings.tls_key_file}", f"chmod o= {settings.tls_key_file}")


def _check_store(settings: Settings) -> Results:
    if "mlflow_tracking_uri" not in settings.model_fields_set:
        yield DoctorFinding("MLFLOW_TRACKING_URI is not set; only npsrisk publish needs it")
        return
    require_store(settings.mlflow_tracking_uri)
    shown = re.sub("//.*@", "//", settings.mlflow_tracking_uri)
    yield DoctorFinding(shown if shown.startswith("sqlite:") else f"{shown}, which was not contacted")


class SystemUser(NamedTuple):
    """A user of the machine with all groups, who can change a file, or put another file in its place, or not."""

    uid: int
    groups: Collection[int]

    @classmethod
    def find_service_user(cls, state_dir: Path) -> "SystemUser":
        """Find the user of the service: who runs this process or, if that is root, the owner of the state directory."""
        uid = os.geteuid()
        if uid != 0 or not state_dir.exists():
            return cls(uid, {os.getegid(), *os.getgroups()})
        owner = state_dir.stat()
        try:
            groups = os.getgrouplist(pwd.getpwuid(owner.st_uid).pw_name, owner.st_gid)
        except KeyError:
            groups = [owner.st_gid]
        return cls(owner.st_uid, set(groups))

    @property
    def name(self) -> str:
        """Return the name, or the number if it has none."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)

    def find_writable(self, path: Path) -> Path | None:
        """Find what this user can write so that the file has another content: the file itself, or a folder above it."""
        for place in dict.fromkeys((path.absolute(), path.resolve())):
            below = place
            for each in (place, *place.parents):
                if each.exists() and self._can_change(each, below):
                    return each
                below = each
        return None

    def _can_change(self, each: Path, below: Path) -> bool:
        """Check if this user can write a file, or replace in a folder what lies below it."""
        found = each.stat()
        if os.statvfs(each).f_flag & os.ST_RDONLY:
            return False
        if self.uid in (0, found.st_uid):
            return True
        # In a folder like /tmp nobody replaces what belongs to another user.
        if stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX and below.exists():
            return False
        in_group = found.st_gid in self.groups and found.st_mode & stat.S_IWGRP
        return bool(in_group or found.st_mode & stat.S_IWOTH)
