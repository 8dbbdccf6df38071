"""Renderer of the pages: reads the event log, and fills the template of each page."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, get_args

import msgspec

from consignments.errors import BadSetting, NpsriskError, ServiceFault
from consignments.exchange.folder import KEYS_FOLDER
from consignments.identifiers import normalize_identifier
from consignments.records import Consignment
from consignments.timestamps import US_PER_DAY, convert_us_to_day, to_datetime
from features.history.data_keys import load_data_key
from features.history.pseudonyms import Pseudonyms
from features.indicators.operation_keys import OperationKeys
from features.links.trace import LinkTable, LinkTrace
from operation.desk.alerts import list_alert_rows, list_message_rows
from operation.desk.background import BackgroundValue
from operation.desk.consignment import ConsignmentView, build_view
from operation.desk.day_list import DayLists
from operation.desk.days import format_day
from operation.desk.drafts import (
    HANDLING_CODES,
    DraftForm,
    Drafts,
    DraftWriter,
    find_confirmed,
    list_facts,
)
from operation.desk.formats import create_environment
from operation.desk.hunt import Hunts, LogHunter, list_hunt_values
from operation.desk.link_map import SIZE, LinkReader, draw_links, find_foreign, trace_consignment
from operation.desk.list_view import ListQuery, build_list
from operation.desk.messages import DOCUMENTS, PageAnswer, PageRequest, Viewer
from operation.desk.texts import PageTexts, load_own_texts
from operation.desk.traffic import DAYS, TrafficReader
from operation.desk.waterfall import WIDTH, draw_waterfall, explain_decision, refuse_fetch
from operation.logged_yields import LoggedYields
from serving.encryption.vault import Vault
from serving.event_log.event_codec import ActionKind, EventCodec
from serving.event_log.log_keys import check_vault
from serving.event_log.reader import LogReader
from serving.event_log.versions import find_counting_version
from serving.maintenance.access_log import record_page_access
from serving.process.settings import Settings
from serving.scoring.loaded_model import PastModels

Values = dict[str, Any]


class PageNotFound(Exception):
    """There is no such consignment for this viewer."""


class PageRenderer:
    """A renderer of pages from the event log of one service.

    Parameters
    ----------
    settings : Settings

    Attributes
    ----------
    keys : OperationKeys
        Those of the exchange directory; more come when an alert or a hunt is read.

    Raises
    ------
    BadSetting, ServiceFault
        The log or the keys cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._data_key = load_data_key(settings.data_key_file)
        self.log = LogReader.open_to_read(settings.database_url)
        self.texts: PageTexts = load_own_texts()
        self._vault: Vault | None = None
        self._plain = EventCodec(None, Consignment, ())
        self._lists = DayLists(self.log, self._plain)
        links = LinkReader(settings.database_url, Pseudonyms(self._data_key), self._load_vault)
        self.keys, self._key_fault = OperationKeys(), ""
        yields = LoggedYields(settings.database_url, self._load_entries, self.keys)
        self._links, self._yields = BackgroundValue(links.read), BackgroundValue(yields.read)
        self._hunts = Hunts(LogHunter(settings), self._load_entries)
        name = settings.administration
        own = Pseudonyms(self._data_key)
        self._drafts = (
            None if name is None else DraftWriter(settings.database_url, name, own, self._load_entries)
        )
        self._traffic = TrafficReader(self.log)
        self._models = PastModels(settings.state_dir, refuse_fetch)
        self._views: dict[str, Callable[[PageRequest, Viewer], tuple[str, Values]]] = {
            "list": self._view_list,
            "consignment": self._view_consignment,
            "links": self._view_links,
            "hunt": self._view_hunt,
            "draft": self._view_draft,
            "alerts": self._view_alerts,
            "model": self._view_model,
            "try": self._view_try,
        }

    def close(self) -> None:
        """Close the log."""
        self.log.close()

    def render(self, request: PageRequest) -> PageAnswer:
        """Render a page; a fault becomes a page that says what is wrong."""
        try:
            return self._render(request)
        except PageNotFound:
            return self._fill(
                "error",
                request,
                {
                    "status": 404,
                    "title": self.texts("error.not_found"),
                    "detail": self.texts("error.not_found_detail"),
                },
                404,
            )
        except ServiceFault as fault:
            detail = fault.format_public(self.texts("error.try_again"))
            values = {"status": 503, "title": self.texts("error.unavailable"), "detail": detail}
            return msgspec.structs.replace(self._fill("error", request, values, 503), error=str(fault))

    def _render(self, request: PageRequest) -> PageAnswer:
        if request.view == DOCUMENTS:
            return self._answer_documents(request)
        if request.view == "login":
            return self._fill("login", request, request.facts, request.facts.get("status", 200))
        if request.view == "error":
            status = request.facts["status"]
            title = self.texts.name("error", f"title_{status}")
            return self._fill("error", request, {"title": title, **request.facts}, status)
        assert request.viewer is not None
        name, values = self._views[request.view](request, request.viewer)
        return self._fill(name, request, values, request.facts.get("status", 200))

    def _fill(self, name: str, request: PageRequest, values: Values, status: int) -> PageAnswer:
        html = create_environment().get_template(f"{name}.html").render(
            t=self.texts, viewer=request.viewer, token=request.token, view=request.view, now_us=request.now_us,
            q=request.query, facts=request.facts, **values,
        )  # fmt: skip
        return PageAnswer(status, html.encode(errors="backslashreplace"))

    def _open_vault(self) -> Vault:
        """Open the vault at its first use; it reads the file of the data keys again by itself."""
        if self._vault is None:
            self._vault = self._load_vault()
        return self._vault

    def _load_vault(self) -> Vault:
        vault = Vault.load(self._settings.data_key_file)
        check_vault(self.log, vault)
        return vault

    def _load_entries(self) -> EventCodec:
        """Load a codec of its own for a background thread, and the operation keys that are new."""
        try:
            self.keys.update(OperationKeys.read_folder(self._settings.exchange_dir / KEYS_FOLDER))
            self._key_fault = ""
        except BadSetting as fault:  # the keys that were read before stay in use, as in the service
            self._key_fault = fault.what
        return EventCodec(self._load_vault(), Consignment, ())

    def _open_entries(self) -> EventCodec:
        return EventCodec(self._open_vault(), Consignment, ())

    def _view_list(self, request: PageRequest, viewer: Viewer) -> tuple[str, Values]:
        query = ListQuery.parse(request.query, request.now_us)
        found = build_list(self._lists.get(query.day), query, viewer)
        nearest = None
        if not found.offices:
            us = self.log.find_latest_decision_us(query.day * US_PER_DAY)
            nearest = None if us is None else format_day(convert_us_to_day(us))
        return "list", {
            "list": found, "query": query, "nearest": nearest, "day": format_day(query.day),
            "before": format_day(query.day - 1), "after": format_day(query.day + 1),
            "today": query.day == convert_us_to_day(request.now_us),
        }  # fmt: skip

    def _view_consignment(self, request: PageRequest, viewer: Viewer) -> tuple[str, Values]:
        view = self._read_view(
            request.query.get("id", ""), viewer, personal=request.query.get("personal") == "1"
        )
        explained = (
            None if view.decision is None else explain_decision(view.decision, self._models, self._plain)
        )
        reasons, base = explained or (view.reasons, None)
        words = (self.texts("reasons.usual"), self.texts("reasons.others"), self.texts("reasons.this"))
        waterfall = draw_waterfall(reasons, base, words) if reasons else None
        actions = list(ACTIONS)
        return "consignment", {
            "c": view, "waterfall": waterfall, "width": WIDTH, "actions": actions, "now": request.now_us,
            "form": _read_form(request), "fault": request.facts.get("fault"),
        }  # fmt: skip

    def _read_view(self, identifier: str, viewer: Viewer, *, personal: bool) -> ConsignmentView:
        """Read a consignment; record who looks at personal fields before they are read."""
        events = self.log.read_consignment_events(normalize_identifier(identifier))
        latest = find_counting_version(events)
        if latest is None:
            raise PageNotFound
        office = self._plain.read_office(latest)
        if not viewer.may_see(office):
            raise PageNotFound
        shown = personal and viewer.may("personal")
        if shown:
            record_page_access(
                self._settings.state_dir, self.log, viewer.key, viewer.person, latest.consignment_id
            )
        return build_view(events, latest, self._plain, self._open_entries(), personal=shown)

    def _view_links(self, request: PageRequest, viewer: Viewer) -> tuple[str, Values]:
        view = self._read_view(request.query.get("id", ""), viewer, personal=False)
        table = self._links.get()
        if table is None:
            return "preparing", {}
        trace = _trace(table, view.name, request.now_us)
        hidden = set[str]()
        if trace is not None and viewer.offices is not None:
            hidden = find_foreign(trace, table, self.log, self._plain, viewer.may_see)
        drawn = None if trace is None else draw_links(trace)
        return "links", {"c": view, "map": drawn, "size": SIZE, "hidden": hidden}

    def _view_hunt(self, request: PageRequest, viewer: Viewer) -> tuple[str, Values]:
        alert = request.query.get("alert", "")
        name = alert or self._read_view(request.query.get("id", ""), viewer, personal=False).name
        reading = self._hunts.start(name, bool(alert), request.now_us)
        found = None if reading is None else reading.get()
        if reading is None or (found is None and not reading.complete):
            return "preparing", {}
        return "hunt", {"name": name, "alert": bool(alert), **list_hunt_values(found, viewer)}

    def _view_draft(self, request: PageRequest, viewer: Viewer) -> tuple[str, Values]:
        form = DraftForm.parse(request.query)
        view, drafts, why = self._write_drafts(request, viewer, form)
        if why == COUNTING:
            return "preparing", {}
        return "draft", {
            "c": view, "drafts": drafts, "why": why, "form": form, "codes": HANDLING_CODES, "fault": request.facts.get("fault"),
            "seizure_facts": [] if drafts is None else list_facts(drafts.seizure),
            "warning_facts": [] if drafts is None or drafts.warning is None else list_facts(drafts.warning),
        }  # fmt: skip

    def _write_drafts(
        self, request: PageRequest, viewer: Viewer, form: DraftForm
    ) -> tuple[ConsignmentView, Drafts | None, str]:
        """Write the drafts of a detection, or return the key of the text that says why there are none."""
        view = self._read_view(request.query.get("id", ""), viewer, personal=False)
        if self._drafts is None:
            return view, None, "no_administration"
        entries = self._load_entries()
        found = find_confirmed(self.log.read_consignment_events(normalize_identifier(view.name)), entries)
        if found is None:
            return view, None, "no_detection"
        try:
            drafts = self._drafts.write(found, form, self.keys, to_datetime(request.now_us))
        except BadSetting:
            return view, None, "no_key"
        return view, drafts, "" if drafts is not None else COUNTING

    def _answer_documents(self, request: PageRequest) -> PageAnswer:
        """Answer with the documents that an officer approves, as JSON.

        The status is 409 if their facts are not those of the form, and 503 if they are not written yet.
        """
        assert request.viewer is not None
        form = DraftForm.parse(request.query)
        try:
            _, drafts, why = self._write_drafts(request, request.viewer, form)
        except PageNotFound:
            return PageAnswer(404, b"[]")
        if why == COUNTING:
            return PageAnswer(503, b"[]")
        if drafts is None or drafts.digest != request.query.get("digest"):
            return PageAnswer(409, b"[]")
        return PageAnswer(200, msgspec.json.encode(drafts.list_chosen(form)))

    def _view_alerts(self, request: PageRequest, viewer: Viewer) -> tuple[str, Values]:
        yields = self._yields.get()
        if yields is None:
            return "preparing", {}
        personal = viewer.may("personal") and request.query.get("personal") == "1"
        if personal:
            record_page_access(self._settings.state_dir, self.log, viewer.key, viewer.person, "alerts")
        return "alerts", {
            "rows": list_alert_rows(yields, request.now_us, personal=personal),
            "messages": list_message_rows(yields),
            "key_fault": self._key_fault,
            "personal": personal,
        }

    def _view_model(self, request: PageRequest, viewer: Viewer) -> tuple[str, Values]:  # noqa: ARG002
        return "model", {
            "model": request.facts["model"],
            "traffic": self._traffic.summarize(request.now_us),
            "format_day": format_day,
            "period": DAYS,
        }

    def _view_try(self, request: PageRequest, viewer: Viewer) -> tuple[str, Values]:  # noqa: ARG002
        facts = request.facts
        return "try", {
            "results": facts.get("results"),
            "form": _read_form(request),
            "faults": facts.get("faults", []),
        }


COUNTING = "counting"
"""Why there are no drafts yet: the identifiers that many own consignments share are being counted."""
ACTIONS = tuple(dict.fromkeys(("inspect", "release", *get_args(ActionKind))))
"""What an officer may decide, in the order of the page."""


def _read_form(request: PageRequest) -> defaultdict[str, str]:
    """Return what was entered before; a field that was not is empty."""
    return defaultdict(str, request.facts.get("form", {}))


def _trace(table: LinkTable, name: str, now_us: int) -> LinkTrace | None:
    """Trace a consignment; None if it cannot be traced, for example because its fields were deleted or it is not in the table yet."""
    try:
        return trace_consignment(table, name, now_us)
    except NpsriskError:
        return None
