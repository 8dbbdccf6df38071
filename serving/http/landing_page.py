"""Landing page at `/`, which explains the service and how to call it. It has no script and no external resources."""

from base64 import b64encode
from functools import cache
from hashlib import sha256
from html import escape
from importlib.metadata import version as installed_version
from pathlib import Path

from serving.http.asgi import respond
from serving.http.openapi import list_operations, strip_converter
from serving.http.routing import ApiRequest, Operation, route

FOLDER = Path(__file__).parent
SCORE_EXAMPLE = """curl "http://127.0.0.1:8080/v1/scores?reasons=3" \\
  -H 'Content-Type: application/json' \\
  -d '{"consignment_id": "RB123456785GB", "channel": "postal", "departure_country": "GB",
       "description": "research chemical sample", "gross_weight_kg": 0.1}'"""
OUTCOME_EXAMPLE = """curl http://127.0.0.1:8080/v1/outcomes \\
  -H 'Content-Type: application/json' \\
  -d '{"consignment_id": "RB123456785GB", "selected_by": "model", "status": "inspected",
       "inspected_at": "2024-03-05T10:00:00Z", "known_at": "2024-03-14T10:00:00Z",
       "result": "nps"}'"""


@route("/interface", "page", scope=None, answer="text/html", refusals=())
async def send_page(request: ApiRequest) -> int:
    """Return the page that lists the calls."""
    model = request.service.active.model
    body = render_page(installed_version("npsrisk"), model.name, loaded=model.release is not None)
    await respond(request.call, 200, body, b"text/html; charset=utf-8", policy=build_policy())
    return 200


def render_page(version: str, model: str, *, loaded: bool) -> bytes:
    """Render the landing page of a version of npsrisk and a model, which is `rules` if none is loaded."""
    state = f"Scores with {model}" if loaded else "No model is loaded: train, promote and publish one"
    filled = {
        "__STYLE__": _style(),
        "__STATE_CLASS__": "" if loaded else "waiting",
        "__STATE__": escape(state),
        "__CALLS__": "\n".join(map(_row, list_operations())),
        "__EXAMPLE__": escape(SCORE_EXAMPLE),
        "__OUTCOME__": escape(OUTCOME_EXAMPLE),
        "__VERSION__": escape(version),
    }
    text: str = _read("landing_page.html")
    for mark, value in filled.items():
        text = text.replace(mark, value)
    return text.encode()


@cache
def build_policy() -> tuple[bytes, bytes]:
    """Build the Content-Security-Policy header that allows only this page's own style sheet."""
    digest = b64encode(sha256(_style().encode()).digest()).decode()
    value = f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'; base-uri 'none'"
    return b"content-security-policy", value.encode()


@cache
def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _style() -> str:
    return _read("landing_page.css")


def _row(call: Operation) -> str:
    verb = f'<code><span class="verb">{call.method}</span>{escape(strip_converter(call.path))}</code>'
    return f"<tr><td>{verb}</td><td>{escape(call.summary)}</td><td>{call.scope or ''}</td></tr>"
