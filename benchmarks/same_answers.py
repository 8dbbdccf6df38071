"""Record what a tree answers, and compare the answers of two trees.

    python -m benchmarks.same_answers record before.json --folder before --tree ../before
    python -m benchmarks.same_answers record after.json --folder after
    python -m benchmarks.same_answers compare before.json after.json --folders before after

With the kept folders, `compare` also shows each value of an HTTP answer that differs.

A record holds digests: of a simulated world, of its features, of both bundles of a training, of scores with reasons, of a
selection, of 200 HTTP answers, of every sample message that is read, and of the help of every verb. The tree is used
only through its commands and its service. The world ends on a fixed day; the service has a fixed clock, and every request its
number as request identifier. Two records of one tree are equal except for the identifiers of decisions.

What may differ between equal trees (identifiers of decisions, times) or describes a bundle (card, manifest, `GET /v1/model`)
or the interface (help, OpenAPI) is compared apart: it is shown, and does not fail the comparison. `--leave-out` names parts
to skip. Contributions of reasons are compared to nine decimals. A record holds for one kind of processor and one set of
packages, because the trees may be rounded otherwise elsewhere.
"""

import argparse
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

REPOSITORY = Path(__file__).resolve().parent.parent
SAMPLES = REPOSITORY / "tests" / "messages"
LAST_DAY = "2026-06-30"
NOW = "2026-07-01T09:00:00Z"
SEED, DAYS, PER_DAY = 1, 150, 600
MODEL_FILES_APART = ("model.json", "manifest.json")
HELP, CARDS, IDENTIFIERS, DESCRIPTIONS = "help", "cards", "identifiers and times", "descriptions over http"
APART = (HELP, CARDS, IDENTIFIERS, DESCRIPTIONS)
ANSWERS_FILE = "answers.jsonl"
REASONS, CONTRIBUTION = "reasons", "contribution"
PATHS_APART = ("/v1/model", "/openapi.json")
TIMES_APART = ("scored_at", "recorded_at", "loaded_at", "approved_at")
FIELDS_APART = frozenset(("decision_id", "code_version", "digest", "request", *TIMES_APART))
MEDIA_TYPES = {
    ".xml": "application/xml",
    ".json": "application/ld+json",
    ".txt": "text/plain",
    ".edi": "text/plain",
}
SINGLES, LISTS, LIST_ROWS, REPEATS, BROKEN = 120, 10, 20, 20, 32
READY_SECONDS = 120.0
DIFFERENCES_SHOWN = 12
TABLES = ("consignments", "outcomes", "alerts", "truth")
COMMAND = "from npsrisk import main; main()"
WITH_FIXED_CLOCK = """
import sys, time
now = int(sys.argv.pop(1))
time.time_ns = lambda: now
time.time = lambda: now / 1e9
from npsrisk import main
main()
"""
LIST_HELP = """
import click, json
from npsrisk import main
def walk(command, name, context):
    inner = click.Context(command, info_name=name, parent=context)
    yield inner.command_path, command.get_help(inner)
    for verb in getattr(command, "commands", ()):
        yield from walk(command.commands[verb], verb, inner)
print(json.dumps(dict(walk(main, "npsrisk", None))))
"""
Digests = dict[str, str]
Answers = dict[str, Digests]


def digest(content: object) -> str:
    """Return the first digits of the SHA-256 of bytes, or of the JSON of a value."""
    data = (
        content if isinstance(content, bytes) else json.dumps(content, sort_keys=True, default=str).encode()
    )
    return hashlib.sha256(data).hexdigest()[:16]


def round_contributions(value: Any) -> Any:
    """Round the contributions of reasons to nine decimals, because their last bits depend on the order of additions."""
    if isinstance(value, dict):
        return {
            name: round(each, 9)
            if name == CONTRIBUTION and isinstance(each, float)
            else round_contributions(each)
            for name, each in value.items()
        }
    return [round_contributions(each) for each in value] if isinstance(value, list) else value


def digest_columns(path: Path, *, structured_reasons: bool = False) -> Digests:
    """Digest each column of a Parquet table, and the order of the columns; of structured reasons, contributions are rounded."""
    frame = pd.read_parquet(path)
    if structured_reasons:
        frame[REASONS] = [json.dumps(round_contributions(json.loads(each))) for each in frame[REASONS]]
    values = {
        str(name): digest(pd.util.hash_pandas_object(column.map(repr), index=False).to_numpy().tobytes())
        for name, column in frame.items()
    }
    return {**values, "columns and rows": digest([list(frame.columns), len(frame)])}


class Tree:
    """A checkout whose commands run in a folder of their own."""

    def __init__(self, checkout: Path, folder: Path) -> None:
        self.checkout, self.folder = checkout.resolve(), folder
        settings = {
            name: value for name, value in os.environ.items() if not name.startswith(("NPSRISK_", "MLFLOW_"))
        }
        self.environment = settings | {"PYTHONPATH": str(self.checkout)}

    def try_command(self, *words: str, code: str = COMMAND) -> "subprocess.CompletedProcess[str]":
        """Run a command of the tree, whatever its exit code."""
        return subprocess.run(
            [sys.executable, "-c", code, *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def run(self, *words: str, code: str = COMMAND) -> str:
        """Run a command of the tree, and return what it prints."""
        done = self.try_command(*words, code=code)
        if done.returncode not in (0, 1):
            raise SystemExit(f"npsrisk {' '.join(words)} failed\n{done.stderr[-2000:]}")
        return done.stdout

    @contextmanager
    def serve(self) -> Iterator[int]:
        """Start the service with a fixed clock; yield its port."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        now = pd.Timestamp(NOW).value
        command = [sys.executable, "-c", WITH_FIXED_CLOCK, str(now), "serve", "--port", str(port)]
        log = self.folder / "service.log"
        with (
            log.open("wb") as output,
            subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=output, stderr=output
            ) as service,
        ):
            try:
                wait_until_ready(port, service, log)
                yield port
            finally:
                service.terminate()


def wait_until_ready(port: int, service: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the service answers that it is ready."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and service.poll() is None:
        if call(port, "GET", "/health/ready")[0] == 200:
            return
        time.sleep(0.2)
    raise SystemExit(f"the service did not become ready\n{log.read_text()[-2000:]}")


def call(
    port: int, method: str, path: str, body: bytes | None = None, kind: str = "", identifier: str = "0"
) -> tuple[int, bytes]:
    """Call the service; return status and body, or status 0 without a connection."""
    headers = {"Content-Type": kind or "application/json", "X-Request-Id": identifier}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


def separate(value: Any, apart: list[object]) -> Any:
    """Return an answer without the fields that are compared apart, which are appended to `apart`."""
    if isinstance(value, dict):
        apart += [(name, each) for name, each in value.items() if name in FIELDS_APART]
        return {name: separate(each, apart) for name, each in value.items() if name not in FIELDS_APART}
    return [separate(each, apart) for each in value] if isinstance(value, list) else value


def record_world(tree: Tree, options: argparse.Namespace) -> Answers:
    """Simulate the world, and split off its last day."""
    tree.run(
        *("simulate", "--out", "world", "--prevalence", "operation", "--seed", str(options.seed)),
        *("--days", str(options.days), "--per-day", str(options.per_day), "--until", LAST_DAY),
    )
    world = tree.folder / "world"
    consignments = pd.read_parquet(world / "consignments.parquet")
    outcomes = pd.read_parquet(world / "outcomes.parquet")
    last_day = consignments["received_at"].max().floor("D")
    past = consignments[consignments["received_at"] < last_day]
    visible = outcomes["known_at"].fillna(outcomes["inspected_at"]).fillna(outcomes["selected_at"]) < last_day
    known = outcomes[visible & outcomes["consignment_id"].isin(past["consignment_id"])]
    past.to_parquet(tree.folder / "past.parquet", index=False)
    known.to_parquet(tree.folder / "outcomes.parquet", index=False)
    new = consignments[consignments["received_at"] >= last_day]
    new.to_parquet(tree.folder / "new.parquet", index=False)
    new.to_json(tree.folder / "new.jsonl", orient="records", lines=True, date_format="iso")
    return {
        "world": {
            f"{table}.{column}": value
            for table in TABLES
            for column, value in digest_columns(world / f"{table}.parquet").items()
        }
    }


def record_features(tree: Tree) -> Answers:
    """Compute the features of the past as a model without fitted parameters sees them."""
    tree.run("features", *list_tables("past.parquet"), "--out", "features.parquet")
    return {"features": digest_columns(tree.folder / "features.parquet")}


def list_tables(consignments: str) -> list[str]:
    """Return the options that name the tables of the world."""
    outcomes, alerts = "outcomes.parquet", "world/alerts.parquet"
    return ["--consignments", consignments, "--outcomes", outcomes, "--alerts", alerts]


def record_bundles(tree: Tree) -> Answers:
    """Train and register; digest each file of both bundles."""
    tree.run("train", *list_tables("past.parquet"), "--register")
    files: Digests = {}
    for name in ("bundle", "evaluation"):
        # The run and its registered model both hold the folder.
        folder = min(path for path in tree.folder.rglob(name) if (path / "manifest.json").is_file())
        files |= {f"{name}/{path.name}": digest(path.read_bytes()) for path in sorted(folder.iterdir())}
    cards = {name: value for name, value in files.items() if name.endswith(MODEL_FILES_APART)}
    return {"bundles": {name: value for name, value in files.items() if name not in cards}, CARDS: cards}


def record_scores(tree: Tree) -> Answers:
    """Score the last day with reasons, and select from it."""
    tables = list_tables("new.parquet")
    model = ["--history", "past.parquet", "--model", "models:/nps-risk/1"]
    tree.run("score", *tables, *model, "--reasons", "3", "--out", "scores.parquet")
    tree.run(
        *("select", "--scores", "scores.parquet", "--capacity", "5", "--explore", "0.2"),
        *("--seed", "7", "--out", "selected.parquet"),
    )
    return {
        "scores": digest_columns(tree.folder / "scores.parquet", structured_reasons=True),
        "selection": digest_columns(tree.folder / "selected.parquet"),
    }


def record_http(tree: Tree) -> Answers:
    """Publish the model, start the service, and digest its answers to 200 requests."""
    tree.run("keys", "create", "--name", "reviewer of the comparison")
    tree.run(
        "promote", "1", "--approved-by", "reviewer of the comparison", "--why", "compare two trees", "--force"
    )
    tree.run("publish")
    tree.run("import", *list_tables("past.parquet"))
    answers: Answers = {"http": {}, DESCRIPTIONS: {}, IDENTIFIERS: {}}
    with tree.serve() as port, (tree.folder / ANSWERS_FILE).open("w") as whole:
        for number, (method, path, body, kind) in enumerate(build_requests(tree.folder)):
            status, content = call(port, method, path, body, kind, f"{number:03d}")
            apart: list[object] = []
            try:
                value = round_contributions(separate(json.loads(content), apart))
            except ValueError:
                value = content.decode(errors="replace")
            name = f"{number:03d} {method} {path} {kind}".rstrip()
            part = DESCRIPTIONS if path in PATHS_APART else "http"
            answers[part][name], answers[IDENTIFIERS][name] = digest([status, value]), digest(apart)
            whole.write(
                json.dumps({"request": name, "status": status, "answer": value}, sort_keys=True) + "\n"
            )
    return answers


def build_requests(folder: Path) -> Iterator[tuple[str, str, bytes | None, str]]:
    """Build the requests: consignments alone, repeated and in lists, broken ones, messages, results, questions."""
    # pandas writes a date with a time.
    rows = [
        {
            name: value.removesuffix("T00:00:00.000") if isinstance(value, str) else value
            for name, value in json.loads(line).items()
            if value is not None
        }
        for line in (folder / "new.jsonl").read_text().strip().split("\n")
    ]
    scores = "/v1/scores?reasons=3&features=true"
    for row in rows[:SINGLES]:
        yield "POST", scores, json.dumps(row).encode(), ""
    for row in rows[:REPEATS]:
        yield "POST", scores, json.dumps(row).encode(), ""
    for place in range(LISTS):
        start = SINGLES + place * LIST_ROWS
        yield "POST", scores, json.dumps({"consignments": rows[start : start + LIST_ROWS]}).encode(), ""
    fields = sorted({name for row in rows for name in row})
    first_day = min(row["received_at"] for row in rows)[:10]
    for place in range(BROKEN):
        broken = {**rows[place], fields[place % len(fields)]: {"unexpected": place}}
        yield "POST", "/v1/scores", json.dumps(broken).encode(), ""
    for path in sorted(SAMPLES.iterdir()):
        if path.suffix in MEDIA_TYPES:
            yield "POST", "/v1/scores", path.read_bytes(), MEDIA_TYPES[path.suffix]
    for row in rows[:5]:
        result = {"selected_by": "model", "status": "inspected", "result": "clear", "known_at": NOW}
        outcome = {"consignment_id": row["consignment_id"], **result}
        yield "POST", "/v1/outcomes", json.dumps(outcome).encode(), ""
        yield "POST", scores, json.dumps({**row, "description": "amended"}).encode(), ""
    # Without a random share, whose draw depends on the data key.
    wanted = {"office": rows[0]["office"], "capacity": 5, "explore": 0}
    period = {"from": f"{first_day}T00:00:00Z", "until": NOW}
    yield "POST", "/v1/selections", json.dumps(wanted | period).encode(), ""
    for name in ("/v1/reasons", f"/v1/consignments/{rows[0]['consignment_id']}", *PATHS_APART):
        yield "GET", name, None, ""


def record_reading(tree: Tree, samples: Path) -> Answers:
    """Read each sample message to consignments."""
    found: Digests = {}
    # Rejects name the file as it was given, so both trees get the same relative path.
    samples = Path(shutil.copytree(samples, tree.folder / "samples", dirs_exist_ok=True))
    for path in sorted(each for each in samples.rglob("*") if each.suffix in (*MEDIA_TYPES, ".csv")):
        out, rejects = tree.folder / "read.jsonl", tree.folder / "rejects.jsonl"
        for each in (out, rejects):
            each.unlink(missing_ok=True)
        mapping = path.with_suffix(".toml")
        given = str(path.relative_to(tree.folder))
        words = ["read", given, "--received-at", NOW, "--out", out.name, "--rejects", rejects.name]
        words += ["--mapping", str(mapping)] if mapping.is_file() else []
        code = tree.try_command(*words).returncode
        content = [each.read_text() if each.is_file() else None for each in (out, rejects)]
        found[str(path.relative_to(samples))] = digest([code, content])
    return {"reading": found}


def record_help(tree: Tree) -> Answers:
    """Digest the help of every verb."""
    return {HELP: {name: digest(text) for name, text in json.loads(tree.run(code=LIST_HELP)).items()}}


def record(options: argparse.Namespace, folder: Path) -> Answers:
    """Record all parts that are not left out; later ones need the files of earlier ones."""
    tree = Tree(options.tree, folder)
    parts: dict[str, Callable[[], Answers]] = {
        "world": lambda: record_world(tree, options),
        "features": lambda: record_features(tree),
        "bundles": lambda: record_bundles(tree),
        "scores": lambda: record_scores(tree),
        "http": lambda: record_http(tree),
        "reading": lambda: record_reading(tree, options.samples),
        HELP: lambda: record_help(tree),
    }
    answers: Answers = {}
    for name, part in parts.items():
        if name not in options.leave_out:
            start = time.monotonic()
            answers |= part()
            print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
    return answers


def compare(before: Answers, after: Answers, left_out: list[str]) -> int:
    """Print the differences of two records; return how many count."""
    counted = 0
    for part in sorted({*before, *after} - set(left_out)):
        one, other = before.get(part, {}), after.get(part, {})
        different = [name for name in {**one, **other} if one.get(name) != other.get(name)]
        note = " (compared apart)" if part in APART and different else ""
        print(f"{part}: {len(other) - len(different)} equal, {len(different)} different{note}")
        for name in different[:DIFFERENCES_SHOWN]:
            print(f"    {name}: {one.get(name, 'absent')} {other.get(name, 'absent')}")
        counted += 0 if part in APART else len(different)
    return counted


def list_changes(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """List the paths of two JSON values at which they differ, with both values."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted({*before, *after}):
            yield from list_changes(before.get(name, "absent"), after.get(name, "absent"), f"{path}/{name}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for place, pair in enumerate(zip(before, after, strict=True)):
            yield from list_changes(*pair, f"{path}/{place}")
    elif before != after:
        yield f"{path}: {before!r:.100} {after!r:.100}"


def show_changed_answers(before: Path, after: Path) -> None:
    """Print each value of the HTTP answers that differs between two kept folders."""
    both = [(folder / ANSWERS_FILE).read_text().splitlines() for folder in (before, after)]
    for one, other in zip(*(map(json.loads, lines) for lines in both), strict=True):
        changes = list(list_changes(one, other))
        if changes:
            print(f"{other['request']}\n    " + "\n    ".join(changes))


def main() -> None:
    """Record or compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("record", help="record the answers of a tree")
    one.add_argument("out", type=Path)
    one.add_argument("--tree", type=Path, default=REPOSITORY, help="checkout whose commands run")
    one.add_argument("--samples", type=Path, default=SAMPLES, help="folder of sample messages")
    one.add_argument(
        "--folder", type=Path, help="folder for all files, which is kept; answers.jsonl has the answers"
    )
    for name, default in (("--days", DAYS), ("--per-day", PER_DAY), ("--seed", SEED)):
        one.add_argument(name, type=int, default=default)
    two = verbs.add_parser("compare", help="compare two records")
    two.add_argument("before", type=Path)
    two.add_argument("after", type=Path)
    two.add_argument("--folders", type=Path, nargs=2, metavar="FOLDER", help="kept folders: show each change")
    for each in (one, two):
        each.add_argument("--leave-out", nargs="*", default=[], metavar="PART")
    options = parser.parse_args()
    if options.verb == "compare":
        before, after = (json.loads(path.read_text()) for path in (options.before, options.after))
        if options.folders:
            show_changed_answers(*options.folders)
        raise SystemExit(min(1, compare(before, after, options.leave_out)))
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        answers = record(options, folder.resolve())
    options.out.write_text(json.dumps(answers, indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
