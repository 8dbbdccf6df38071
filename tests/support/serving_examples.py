"""A small model, published as the publisher does, and a service over it."""

import asyncio
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import msgspec
import numpy as np
from anyio.from_thread import BlockingPortal, start_blocking_portal
from support.databases import database_in, state_environment
from support.examples import day, make_consignment
from support.signing import sign_record, write_approvers
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from consignments.files.whole_files import create_key_file
from consignments.timestamps import to_us
from features.categories import fit_vocabularies
from features.config import FeatureConfig
from features.fitted import FittedParameters
from features.history.data_keys import DataKeys, SealingKey, encode_data_keys
from features.history.pseudonyms import Pseudonyms
from features.pipeline import Pipeline
from models.bundle import Bundle, ModelCard, SelfTestExamples, write_bundle
from models.fitting.boosting import LabelledRows, TreeParams, fit_risk_model
from serving.encryption.vault import Vault
from serving.http.app import App, FurtherRoutes
from serving.http.server import build_server
from serving.messages.scoring import accept_messages
from serving.process.clock import Clock
from serving.process.settings import Settings
from serving.service import Service

DATA_KEY = bytes(range(32))
DATA_KEYS = DataKeys(DATA_KEY.hex(), [SealingKey("0badc0de", "2024-03-01", bytes(range(32, 64)).hex())])
KEY_ID = bytes.fromhex(DATA_KEYS.sealing_keys[0].id)
ROWS = 400
READY_SECONDS = 120.0
SERVE = (
    "import sys; from serving.http.server import serve; from serving.messages.scoring import accept_messages; "
    "from serving.process.settings import Settings; serve('127.0.0.1', int(sys.argv[1]), Settings.read(), further=[accept_messages])"
)


def make_bundle(folder: Path, config: FeatureConfig, seed: int, target: str = "nps") -> Path:
    """Write a small model of invented consignments, whose risk lies in words and in what the sender sent before."""
    folder.mkdir(parents=True)
    for name, content in _train_bundle(config, seed, target).items():
        (folder / name).write_bytes(content)
    return folder


@cache
def _train_bundle(config: FeatureConfig, seed: int, target: str) -> dict[str, bytes]:
    """Train a model once a process, and return its files."""
    rng = np.random.default_rng(seed)
    pipeline = Pipeline(config, FittedParameters.create_empty(), Pseudonyms(DATA_KEY))
    X = np.zeros((ROWS, len(pipeline.spec)), dtype=np.float32)
    y = (rng.random(ROWS) < 0.3).astype(np.int8)
    keys = np.zeros((2, 1, len(pipeline.kinds)), dtype=np.uint64)
    record = config.build_record_type()
    goods, channels = ("cotton t-shirts", "research chemical powder"), ["postal", "air_cargo"] * (ROWS // 2)
    for place in range(ROWS):
        drawn = {"received_at": day(float(rng.integers(0, 30))), "gross_weight_kg": float(rng.random())}
        c = make_consignment(f"T{place}", description=goods[y[place]], channel=channels[place], **drawn)
        pipeline.fill_rows([record(**msgspec.structs.asdict(c))], X[place : place + 1], *keys)
        X[place, pipeline.history_at :] = rng.integers(0, 5, X.shape[1] - pipeline.history_at)
    X[:, pipeline.spec.get_column("history.sender.arrivals_7d")] += 3 * y
    rows = LabelledRows(X, y, np.ones(ROWS), channels)
    params = TreeParams(trees=20, leaves=6, depth=8, rows_in_leaf=5, linear_share=0.0)
    model = fit_risk_model(rows, rows, pipeline.spec, params, seed=seed)
    # Training names every category column, also one without a known value.
    known = fit_vocabularies((), config)
    values, arrays = replace(FittedParameters.create_empty(), vocabularies=known).to_plain()
    about = {"name": "nps-risk", "target": target, "as_of": "2024-04-01T00:00:00Z", "code_version": "0"}
    digests = {"data_sha256": f"{seed:064x}", "feature_spec_sha256": model.spec.compute_digest()}
    card = ModelCard(**about, **digests)
    examples = SelfTestExamples.compute(model, X[:8], channels[:8])
    bundle = Bundle(card=card, config=config, fitted=values, arrays=arrays, model=model, examples=examples)
    with TemporaryDirectory() as folder:
        write_bundle(Path(folder) / "bundle", bundle)
        return {path.name: path.read_bytes() for path in (Path(folder) / "bundle").iterdir()}


def publish(state_dir: Path, bundle: Path, version: str, *, approved: bool = True) -> Path:
    """Place a bundle as the publisher does, and make it the current one; gives its folder."""
    folder = place(state_dir, bundle, version, approved=approved)
    point_to(state_dir, folder)
    return folder


def place(state_dir: Path, bundle: Path, version: str, *, approved: bool = True) -> Path:
    """Place a bundle beside those that are there; gives its folder. Without a promotion record it cannot decide."""
    sha256 = hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    folder = state_dir / "models" / f"nps-risk-{version}-{sha256[:12]}"
    shutil.copytree(bundle, folder / "bundle")
    envelope = sign_record(version=version, bundle_sha256=sha256).to_envelope() if approved else None
    note = {"name": "nps-risk", "version": version, "bundle_sha256": sha256, "envelope": envelope}
    (folder / "release.json").write_text(json.dumps(note))
    return folder


def point_to(state_dir: Path, folder: Path) -> None:
    part = state_dir / "models" / "current.part"
    part.write_text(json.dumps({"folder": folder.name}))
    part.replace(state_dir / "models" / "current.json")


def settings_in(state_dir: Path, **changes: Any) -> Settings:
    """Settings of a service in a folder, with the tests' data key and nothing from the environment."""
    state_dir.mkdir(parents=True, exist_ok=True)
    key = state_dir / "data.key"
    if not key.exists():
        create_key_file(key, encode_data_keys(DATA_KEYS))
    write_approvers(state_dir)
    return locate_state(state_dir, **{"NPSRISK_APPROVERS_FILE": str(state_dir / "approvers.toml")} | changes)


def empty_state(state_dir: Path, **changes: Any) -> Settings:
    """Make a state directory without any file; gives its settings."""
    state_dir.mkdir()
    return locate_state(state_dir, **changes)


def locate_state(state_dir: Path, **changes: Any) -> Settings:
    """Give the settings of a service in a folder, with nothing from the environment."""
    here = {"NPSRISK_STATE_DIR": str(state_dir), "NPSRISK_DATABASE_URL": database_in(state_dir)}
    return Settings.model_validate(here | changes)


def vault_in(state_dir: Path) -> Vault:
    return Vault.load(state_dir / "data.key")


def on_day_20() -> int:
    """The clock of the tests: a moment after the examples' consignments and their results."""
    return to_us(day(20))


class SetClock:
    """A clock that a test sets; it begins like the clock of the tests."""

    def __init__(self) -> None:
        self.now_us = on_day_20()

    def __call__(self) -> int:
        return self.now_us


async def listen_in_loop(app: App) -> tuple[asyncio.Server, set[HttpToolsProtocol]]:
    """Listen on a free port of 127.0.0.1 with the connections of the service, which are given too, in the loop that runs."""
    server = build_server(app)
    server.config.load()

    def accept() -> HttpToolsProtocol:
        connect = server.config.http_protocol_class
        return connect(config=server.config, server_state=server.server_state, app_state={})

    listening = await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0)
    return listening, server.server_state.connections


class Client:
    """Calls a service that runs in this process, in a thread of its own."""

    def __init__(self, service: Service, portal: BlockingPortal, *further: FurtherRoutes) -> None:
        self.service, self.portal, self.app = service, portal, App(service, accept_messages, *further)
        self._server, self._connections = portal.call(listen_in_loop, self.app)
        port = self._server.sockets[0].getsockname()[1]
        self.http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", verify=False, trust_env=False, timeout=60
        )

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.portal.call(partial(self.http.get, path, **options))

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        """Post records or other values as JSON; bytes as they are."""
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        options.setdefault("headers", {"content-type": "application/json"})
        return self.portal.call(partial(self.http.post, path, content=content, **options))

    def read(self, path: str, **options: Any) -> dict[str, Any]:
        """Get a path; give the good answer."""
        return _get_good(self.get(path, **options))

    def send(self, path: str, body: Any, **options: Any) -> dict[str, Any]:
        """Post as `post` does; give the good answer."""
        return _get_good(self.post(path, body, **options))

    def score(self, name: str, query: str = "", **changes: Any) -> dict[str, Any]:
        """Score a consignment of the examples; give the good answer."""
        return self.send(f"/v1/scores{query}", make_consignment(name, **changes))

    def compute_features(self, name: str, **changes: Any) -> dict[str, Any]:
        return self.score(name, "?features=true", **changes)["features"]

    def post_at_once(self, path: str, bodies: Sequence[Any]) -> list[httpx.Response]:
        """Post records as JSON by calls that come in together, in their order."""
        headers = {"content-type": "application/json"}

        async def call() -> list[httpx.Response]:
            contents = map(msgspec.json.encode, bodies)
            posts = [self.http.post(path, content=content, headers=headers) for content in contents]
            return await asyncio.gather(*posts)

        return self.portal.call(call)

    def close(self) -> None:
        """Close the connections, also those of other clients, as the server does when it stops."""
        self.portal.call(self.http.aclose)
        self.portal.call(self._end)

    async def _end(self) -> None:
        self._server.close()
        async with asyncio.timeout(30):
            while self._connections:
                for connection in list(self._connections):
                    connection.shutdown()
                await asyncio.sleep(0.001)

    def look(self) -> None:
        """Let the service look now for a new model, new keys, or a log that can be used again."""
        self.portal.call(self.service.poll)


def _get_good(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    return response.json()


def describe_key(name: str, *scopes: str, more: str = "") -> str:
    """Give the section of a key file for a key that is its own name."""
    digest, listed = hashlib.sha256(name.encode()).hexdigest(), json.dumps(scopes or ["score"])
    return f'[[keys]]\nname = "{name}"\nsha256 = "{digest}"\nscopes = {listed}\n{more}\n'


def bear(name: str, **more: str) -> dict[str, str]:
    given = {each.replace("_", "-"): value for each, value in more.items()}
    return {"content-type": "application/json", "authorization": f"Bearer {name}"} | given


@contextmanager
def serving(
    settings: Settings,
    clock: Clock = on_day_20,
    elapsed: Clock | None = None,
    *,
    further: Sequence[FurtherRoutes] = (),
    **accepted: bool,
) -> Iterator[Client]:
    """Run a service in this process, from its start to its stop; without the pages for officers unless their routes are given."""
    service = Service(settings, clock, elapsed, **accepted)
    service.open()
    with start_blocking_portal() as portal:
        portal.call(service.start)
        client = Client(service, portal, *further)
        try:
            yield client
        finally:
            client.close()
        portal.call(service.stop)


def scored(client: Client, name: str) -> int:
    """Ask for the score of a consignment; give the status."""
    return client.post("/v1/scores", make_consignment(name)).status_code


def refused(client: Client, name: str) -> str:
    """Ask for a score that cannot be given now; give what the service says of that."""
    response = client.post("/v1/scores", make_consignment(name))
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    return response.json()["detail"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_ready(process: "subprocess.Popen[bytes]", url: str) -> None:
    """Wait until a server process answers at the address of its health."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            httpx.get(url, timeout=5, verify=False).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"not ready: {process.returncode}")


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """Give the environment of a process that serves from a folder with the tests' data key."""
    settings_in(folder)
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("NPSRISK_", "MLFLOW_"))}
    approvers = {"NPSRISK_APPROVERS_FILE": str(folder / "approvers.toml")}
    return ours | state_environment(folder) | approvers | settings


@contextmanager
def running(
    folder: Path, script: str = SERVE, **settings: str
) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """Run a service as a process, with its log in `service.log`; gives it and its address once it is ready."""
    port, command = free_port(), [sys.executable, "-c", script]
    with (
        (folder / "service.log").open("ab") as log,
        subprocess.Popen([*command, str(port)], env=environment(folder, **settings), stderr=log) as process,
    ):
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until_ready(process, f"{url}/health/ready")
            yield process, url
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(30)
