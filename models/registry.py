"""The model registry in MLflow: versions with their bundles (`models.mlflow_model`), aliases and promotion records."""

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, cast

import mlflow
import pandas as pd
from mlflow.entities import LoggedModelOutput
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from consignments.errors import BadInput, BundleRefused, PromotionRefused, ServiceFault, UnknownName
from consignments.records import TARGET_NAMES, TARGETS, Target
from models.bundle import Bundle, load_bundle
from models.mlflow_model.folder import write_mlflow_model
from models.promotion_record import PromotionRecord, verify_chain
from models.signatures import record_tags
from models.signatures.signed_record import SignedRecord

EXPERIMENT = "nps-risk"
CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
EVALUATION = "evaluation"  # folder of the evaluation fit, next to the folder of the served bundle
EVALUATION_TAG, BUNDLE_TAG = "evaluation_sha256", "bundle_sha256"
MODEL_NAME, MODEL_TYPE = "model", "risk model"  # name and kind of the logged model of a run
RUN_ID = re.compile("[0-9a-f]{32}")
REFUSAL_CODES = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}
MAX_RETRIES, TIMEOUT_SECONDS = 2, 30
"""Retries of a call to an unavailable server and its timeout, unless the environment sets others. MLflow's defaults take minutes."""
ADDRESS_VARIABLES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
MAX_DESCRIPTION_CHARACTERS = 5000  # of a version in MLflow's tables, at least on PostgreSQL
REST_ELSEWHERE = "\n\nThe rest is on the page report.html of the training run."
MAX_LISTED_RUNS = 20


@dataclass(frozen=True)
class ModelVersion:
    """A version of a registered model, and the training run that it comes from."""

    name: str
    number: str
    run_id: str
    tags: dict[str, str]
    aliases: tuple[str, ...]

    @property
    def target(self) -> Target:
        """Return the result that counts as positive."""
        return cast(Target, self.tags["target"])

    @property
    def title(self) -> str:
        """Return its name for texts."""
        return f"version {self.number}"

    @property
    def uri(self) -> str:
        """Return its MLflow URI."""
        return f"models:/{self.name}/{self.number}"


def get_model_name(target: str) -> str:
    """Return the registered name of the models of a target."""
    if target not in TARGETS:
        raise UnknownName.from_candidates(target, TARGETS, kind="target")
    return EXPERIMENT if target == "nps" else f"{EXPERIMENT}-{target}"


class VersionFolders(NamedTuple):
    """The folders of the downloaded, unverified fits of a version; None if it has no evaluation fit."""

    served: Path
    evaluation: Path | None


class VersionFits(NamedTuple):
    """The fits of a version: the final fit, which is served, and the evaluation fit; None if it has only one."""

    served: Bundle
    evaluation: Bundle | None

    @property
    def first_unseen(self) -> datetime:
        """Return the earliest time from which arrivals are not in the training data of one of its fits."""
        return min(fit.unseen_from for fit in self if fit is not None)

    def choose(self, begins: datetime) -> Bundle:
        """Return the newest fit without arrivals from a time on in its training data; else the fit with the oldest data."""
        fits = [fit for fit in self if fit is not None]
        oldest = min(fits, key=lambda fit: fit.unseen_from)
        unseen = [fit for fit in fits if fit.unseen_from <= begins]
        return max(unseen, key=lambda fit: fit.unseen_from, default=oldest)


class Registry:
    """The registered models of one MLflow server, at a tracking URI such as `sqlite:///mlflow.db`."""

    def __init__(self, tracking_uri: str) -> None:
        self.tracking_uri = tracking_uri
        # Without a password, for errors.
        self.where = re.sub("//[^@/]*@", "//", tracking_uri)
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", str(MAX_RETRIES))
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(TIMEOUT_SECONDS))
        # Bars that appear between the results of a notebook, also for a few local files.
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        self.client = mlflow.MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
        self._artifacts: dict[str, ArtifactRepository] = {}

    def register(
        self, run_id: str, bundle_dir: Path, *, example: pd.DataFrame, description: str, tags: dict[str, str]
    ) -> ModelVersion:
        """Log the bundle, and the fit in the folder `evaluation` next to it, as the model of a run, and register it as the challenger."""
        bundle = load_bundle(bundle_dir)
        name = get_model_name(bundle.card.target)
        evaluation_dir, evaluation_tags = bundle_dir.with_name(EVALUATION), {}
        if evaluation_dir.exists():
            evaluation_tags[EVALUATION_TAG] = load_bundle(evaluation_dir).sha256
        model_id = self._log_model(run_id, bundle_dir, bundle, example)
        if not self.client.search_registered_models(f"name = '{name}'", max_results=1):
            about = f"Risk that a consignment contains {TARGET_NAMES[bundle.card.target]}. The score is meant as a probability: the page of each version says what is known of its calibration."
            self.client.create_registered_model(name, {"target": bundle.card.target}, about)
        with _use_address(self.tracking_uri):
            source, tags = f"models:/{model_id}", {**tags, BUNDLE_TAG: bundle.sha256, **evaluation_tags}
            made = self.client.create_model_version(
                name, source, run_id=run_id, tags=tags, description=description, model_id=model_id
            )
        # A server links the logged model to its version; a database that is opened directly does not.
        versions = [{"name": name, "version": int(made.version)}]
        self.client.set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: json.dumps(versions)})
        # Runs of one date have the same name. The version distinguishes them.
        run_name = self.client.get_run(run_id).info.run_name
        self.client.update_run(run_id, name=f"version {made.version}: {run_name}")
        self.client.set_registered_model_alias(name, CHALLENGER, made.version)
        return self.resolve(f"models:/{name}/{made.version}")

    def resolve(self, uri: str, *, target: str = "nps") -> ModelVersion:
        """Find a version by `models:/NAME/3`, `models:/NAME@champion`, a number or an alias; `BadInput` if there is none."""
        if RUN_ID.fullmatch(run_id := uri.removeprefix("runs:/").partition("/")[0]):
            self.get_run_tags(run_id)
            todo = "npsrisk train --register registers a run as a version"
            raise self._make_refusal("this is a run, not a version", uri, todo)
        name, chosen = get_model_name(target), uri
        if uri.startswith("models:/"):
            address = uri.removeprefix("models:/")
            name, _, chosen = address.rpartition("@" if "@" in address else "/")
        find = self.client.get_model_version if chosen.isdigit() else self.client.get_model_version_by_alias
        try:
            with self._translate_errors():
                found = find(name, chosen)
        except MlflowException as error:
            todo = "give --target if it is not nps, see the Models page of MLflow, or run npsrisk train --register"
            raise self._make_refusal("no such model version", uri, todo) from error
        number, run_id = str(found.version), str(found.run_id)
        return ModelVersion(found.name, number, run_id, dict(found.tags), tuple(found.aliases))

    def _make_refusal(self, what: str, uri: str, todo: str) -> BadInput:
        expected = "models:/NAME/VERSION or models:/NAME@ALIAS"
        return BadInput(what, where=self.where, got=uri, expected=expected, todo=todo)

    def find_version(self, alias: str, target: str) -> ModelVersion | None:
        """Find the version that has an alias; return None if there is none."""
        try:
            return self.resolve(f"models:/{get_model_name(target)}@{alias}")
        except BadInput:
            return None

    def find_champion(self, target: str) -> ModelVersion | None:
        """Find the champion; return None if no version was promoted. Raises like `require_recorded_champion`."""
        champion = self.find_version(CHAMPION, target)
        require_recorded_champion(champion, self.list_signed_records(get_model_name(target)))
        return champion

    def fetch_bundle(self, version: ModelVersion) -> Bundle:
        """Fetch and verify the bundle of a version; `BundleRefused` if it was altered or is not the registered one."""
        bundle = load_bundle(self.download_fits(version).served)
        _require_registered("bundle", bundle, version, BUNDLE_TAG)
        return replace(bundle, version=version.number)

    def fetch_fits(self, version: ModelVersion) -> VersionFits:
        """Fetch and verify both fits of a version; raises like `fetch_bundle`."""
        fits = self.load_fits(version, self.download_fits(version))
        _require_registered("bundle", fits.served, version, BUNDLE_TAG)
        return fits

    def load_fits(self, version: ModelVersion, folders: VersionFolders) -> VersionFits:
        """Load both fits of a version like `fetch_fits`, with any intact served fit: the gate compares it with the signed record."""
        served = load_bundle(folders.served)
        if folders.evaluation is None:
            return VersionFits(served, None)
        evaluation = load_bundle(folders.evaluation)
        _require_registered("evaluation fit", evaluation, version, EVALUATION_TAG)
        return VersionFits(served, evaluation)

    def download_fits(self, version: ModelVersion) -> VersionFolders:
        """Download both fits of a version without verification, and return their folders."""
        with self._translate_errors(), _use_address(self.tracking_uri):
            folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=version.uri))
        served = folder / str(mlflow.models.Model.load(folder).flavors["python_function"]["data"])
        return VersionFolders(served, folder / EVALUATION if EVALUATION_TAG in version.tags else None)

    def list_signed_records(self, name: str) -> list[SignedRecord]:
        """List the promotion records of a registered model, first to last; the chain is verified, the signatures are not."""
        found = record_tags.read_records(self._get_model_tags(name))
        verify_chain([each.record for each in found])
        return found

    def read_pending(self, name: str) -> SignedRecord | None:
        """Read the record that waits for further signatures; None if there is none."""
        return record_tags.read_pending(self._get_model_tags(name))

    def write_pending(self, signed: SignedRecord) -> None:
        """Keep a record until enough approvers have signed it, in place of another that waits; `PromotionRefused` if overtaken."""
        name = signed.record.name
        self.write_signatures(signed)
        self.client.set_registered_model_tag(name, record_tags.PENDING_TAG, signed.record.to_json())
        pending = self.read_pending(name)
        if pending is None or pending.record != signed.record:
            raise _make_overtaken_refusal(signed.record)

    def write_signatures(self, signed: SignedRecord) -> None:
        """Write the signatures of a record."""
        for key, value in record_tags.build_signature_tags(signed).items():
            self.client.set_registered_model_tag(signed.record.name, key, value)

    def append_record(self, signed: SignedRecord) -> None:
        """Write a signed promotion record, then move the aliases; `PromotionRefused` if the chain is broken or was overtaken."""
        record = signed.record
        records = [each.record for each in self.list_signed_records(record.name)]
        # Two who give the last signature of a waiting record at once write the same record.
        if len(records) >= record.number and records[record.number - 1 :] != [record]:
            raise _make_overtaken_refusal(record)
        verify_chain([*records[: record.number - 1], record])
        self.write_signatures(signed)
        tag = f"{record_tags.RECORD_TAG}{record.number:06d}"
        self.client.set_registered_model_tag(record.name, tag, record.to_json())
        # MLflow cannot compare and write at once.
        if self.list_signed_records(record.name)[-1].record != record:
            raise _make_overtaken_refusal(record)
        self.client.set_registered_model_tag(record.name, record_tags.PENDING_TAG, "")
        version = self.resolve(f"models:/{record.name}/{record.version}")
        self.client.set_model_version_tag(record.name, record.version, "promotion", record.to_json())
        if record.replaces is not None and record.replaces != record.version:
            self.client.set_registered_model_alias(record.name, PREVIOUS, record.replaces)
        self.client.set_registered_model_alias(record.name, CHAMPION, record.version)
        challenger = self.find_version(CHALLENGER, version.target)
        if challenger is not None and challenger.number == record.version:
            self.client.delete_registered_model_alias(record.name, CHALLENGER)

    def write_description(self, version: ModelVersion, description: str, verdict: str) -> None:
        """Replace the tag `verdict` of a version and its description, which ends after a whole paragraph or table."""
        self.client.set_model_version_tag(version.name, version.number, "verdict", verdict)
        if len(description) > MAX_DESCRIPTION_CHARACTERS:
            # Two more characters show that a paragraph ends exactly at the limit.
            kept = description[: MAX_DESCRIPTION_CHARACTERS - len(REST_ELSEWHERE) + 2]
            description = kept.rpartition("\n\n")[0].removesuffix("\n\n---") + REST_ELSEWHERE
        self.client.update_model_version(version.name, version.number, description)

    def get_run_tags(self, run_id: str) -> dict[str, str]:
        """Return the tags of a run."""
        try:
            return dict(self.client.get_run(run_id).data.tags)
        except MlflowException as error:
            raise BadInput("no such run", where=self.where, got=run_id) from error

    def read_run_artifact(self, run_id: str, path: str) -> bytes | None:
        """Read an artifact file of a run; return None if there is no such file."""
        files = self._open_artifacts(run_id)
        if all(item.path != path for item in files.list_artifacts(path.rpartition("/")[0] or None)):
            return None
        with TemporaryDirectory() as spare:
            found = files.download_artifacts(path, spare)
            return Path(found).read_bytes()

    def _open_artifacts(self, run_id: str) -> ArtifactRepository:
        """Open the artifacts of a run; the client itself would ask the server for their place with every file."""
        if run_id not in self._artifacts:
            place = self.client.get_run(run_id).info.artifact_uri
            self._artifacts[run_id] = get_artifact_repository(place, tracking_uri=self.tracking_uri)
        return self._artifacts[run_id]

    def list_runs(self, **tags: str) -> list[str]:
        """List the latest runs with some tags, the latest first, at most `MAX_LISTED_RUNS`."""
        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            return []
        runs = self.client.search_runs(
            [experiment.experiment_id],
            filter_string=" and ".join(f"tags.{name} = '{value}'" for name, value in tags.items()),
            order_by=["attributes.start_time DESC"],
            max_results=MAX_LISTED_RUNS,
        )
        return [run.info.run_id for run in runs]

    def _get_model_tags(self, name: str) -> dict[str, str]:
        with self._translate_errors():
            return dict(self.client.get_registered_model(name).tags)

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Raise `ServiceFault` if the server is unavailable. Other errors of the server are left to the caller."""
        try:
            yield
        except (MlflowException, OSError) as error:
            if isinstance(error, MlflowException) and error.error_code in REFUSAL_CODES:
                raise
            what, got = "MLflow does not answer", error.__class__.__name__
            todo = "check that it is running, and try again"
            if isinstance(error, PermissionError):
                what = "a file of the MLflow store cannot be read or written"
                got = f"{error.strerror}: {error.filename}"
                todo = "correct the permissions (MLflow also writes to a local folder of artifacts when it reads a model), or use an MLflow server"
            raise ServiceFault(what, where=self.where, got=got, todo=todo) from error

    def _log_model(self, run_id: str, bundle_dir: Path, bundle: Bundle, example: pd.DataFrame) -> str:
        """Log both fits as the model of a run, by calls that write no parameters to the run; return MLflow's identifier."""
        run = self.client.get_run(run_id)
        logged = self.client.create_logged_model(
            run.info.experiment_id, name=MODEL_NAME, source_run_id=run_id, model_type=MODEL_TYPE
        )
        evaluation = bundle_dir.with_name(EVALUATION)
        try:
            with TemporaryDirectory() as parent:
                folder = Path(parent) / "model"
                path, model_id = str(logged.name), logged.model_id
                origin = mlflow.models.Model(artifact_path=path, run_id=run_id, model_id=model_id)
                write_mlflow_model(folder, bundle_dir, bundle, example, origin)
                if evaluation.exists():
                    shutil.copytree(evaluation, folder / EVALUATION)
                self.client.log_model_artifacts(logged.model_id, str(folder))
        except BaseException:
            self.client.finalize_logged_model(logged.model_id, "FAILED")
            raise
        self.client.finalize_logged_model(logged.model_id, "READY")
        self.client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
        return str(logged.model_id)


@contextmanager
def _use_address(tracking_uri: str) -> Iterator[None]:
    """Set MLflow's tracking URI, of which a process has one, for a block of calls that take none."""
    before = {name: os.environ.get(name) for name in ADDRESS_VARIABLES}
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(tracking_uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)  # resets it: the environment decides
        mlflow.set_registry_uri(None)
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def require_recorded_champion(champion: ModelVersion | None, records: Sequence[SignedRecord]) -> None:
    """Raise `PromotionRefused` if somebody moved or removed the alias `champion`: the latest record is not about its version."""
    if records and (champion is None or champion.number != records[-1].record.version):
        promoted, got = records[-1].record, "no version" if champion is None else champion.title
        what = f"the alias {CHAMPION} was moved without a promotion record"
        expected = f"version {promoted.version}, of the latest promotion record"
        todo = f"find out who moved it; npsrisk promote {promoted.version} puts it back, on the record"
        raise PromotionRefused(what, where=promoted.name, got=got, expected=expected, todo=todo)


def _require_registered(what: str, bundle: Bundle, version: ModelVersion, tag: str) -> None:
    registered = version.tags.get(tag, "")
    if bundle.sha256 != registered:
        got, expected = bundle.sha256[:12], registered[:12] or f"the tag {tag}"
        fault, todo = f"the {what} is not the registered one", "restore the artifact, or train again"
        raise BundleRefused(fault, where=version.title, got=got, expected=expected, todo=todo)


def _make_overtaken_refusal(record: PromotionRecord) -> PromotionRefused:
    what, got = "another reviewer wrote a promotion record meanwhile", "another record in its place"
    todo = "run npsrisk gate, then promote again if you still want to"
    return PromotionRefused(what, where=record.title, got=got, todo=todo)
