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
from features.goods.lexicon import list_substances
from features.history.data_keys import load_data_key
from features.history.pseudonyms import Pseudonyms
from features.indicators.operation_keys import OperationKeys
from features.links.trace import LinkedConsignment, LinkTable, LinkTrace
from operation.day_list import DayLists
from operation.desk.background import BackgroundValue
from operation.desk.formats import render_template
from operation.desk.messages import DOCUMENTS, PageAnswer, PageRequest, Viewer
from operation.desk.texts import load_texts
from operation.desk.views.alerts import list_alert_rows, list_message_rows
from operation.desk.views.consignment import PLAIN, ConsignmentView, build_view
from operation.desk.views.days import format_day
from operation.desk.views.drafts import (
    HANDLING_CODES,
    DraftForm,
    Drafts,
    DraftWriter,
    find_confirmed,
    list_facts,
)
from operation.desk.views.hunt import Hunts, list_hunt_values
from operation.desk.views.link_map import LinkReader, draw_links, find_foreign, trace_consignment
from operation.desk.views.list_view import WITHOUT_OFFICE, ListQuery, build_list, find_place
from operation.desk.views.traffic import DAYS, TrafficReader
from operation.desk.views.waterfall import WIDTH, draw_waterfall, explain_decision, refuse_fetch
from operation.hunts.hunt import Hunt
from operation.hunts.logged import LogHunter
from operation.logged_yields import LoggedYields
from serving.encryption.vault import Vault
from serving.event_log.event_codec import ActionKind, EventCodec
from serving.event_log.log_keys import check_vault
from serving.event_log.reader import LogReader
from serving.event_log.versions import find_counting_version
from serving.process.settings import Settings
from serving.scoring.loaded_model import PastModels

Values = dict[str, Any]
COUNTING = "counting"
"""Why there are no drafts yet: the identifiers that many own consignments share are being counted."""
ACTIONS = tuple(dict.fromkeys(("inspect", "release", *get_args(ActionKind))))
"""What an officer may decide, in the order of the page."""
RESULTS = ("clear", "nps", "controlled_drug", "other_offence", "pending", "missed")
"""What an officer may record of an inspection, in the order of the page."""
ACTS = ("action", "outcome")


class PageNotFound(Exception):
    """There is no such consignment for this viewer."""


class PageRenderer:
    """A renderer of pages from the event log of one service; `BadSetting` or `ServiceFault` if its log or keys cannot be used.

    `keys` are those of the exchange directory; more come when an alert or a hunt is read.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        own = Pseudonyms(load_data_key(settings.data_key_file))
        self.log = LogReader.open_to_read(settings.database_url)
        self._vault: Vault | None = None
        self._lists = DayLists(self.log, PLAIN)
        links = LinkReader(settings.database_url, own, self._load_vault)
        self.keys, self._key_fault = OperationKeys(), ""
        yields = LoggedYields(settings.database_url, self._load_entries, self.keys)
        self._links, self._yields = BackgroundValue(links.read), BackgroundValue(yields.read)
        self._hunts = Hunts(LogHunter(settings), self._load_entries)
        name = settings.administration
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
            if request.view == DOCUMENTS:
                return self._answer_documents(request)
            assert request.viewer is not None
            name, values = self._views[request.view](request, request.viewer)
            return render_template(name, request, values, request.facts.get("status", 200))
        except PageNotFound:
            values = {"title": "error.not_found", "detail": load_texts()("error.not_found_detail")}
            return render_template("error", request, values, 404)
        except ServiceFault as fault:
            detail = fault.format_public(load_texts()("error.try_again"))
            answer = render_template("error", request, {"title": "error.title_503", "detail": detail}, 503)
            return msgspec.structs.replace(answer, error=str(fault))

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

    def _view_list(self, request: PageRequest, viewer: Viewer) -> tuple[str, Values]:
        query = ListQuery.parse(request.query, request.now_us)
        rows = self._lists.get(query.day)
        found = build_list(rows, query, viewer)
        nearest = None
        if not found.offices:
            us = self.log.find_latest_decision_us(query.day * US_PER_DAY)
            nearest = None if us is None else format_day(convert_us_to_day(us))
        day = format_day(query.day)
        return "list", {
            "list": found, "query": query, "nearest": nearest, "day": day,
            "before": format_day(query.day - 1), "after": format_day(query.day + 1),
            "today": query.day == convert_us_to_day(request.now_us),
            "here": query.build_query(day, office=found.office, page=found.page),
            "unassigned": len(rows.view_office(None).ranked) if viewer.may_see(None) and found.office != WITHOUT_OFFICE else 0,
        }  # fmt: skip

    def _view_consignment(self, request: PageRequest, viewer: Viewer) -> tuple[str, Values]:
        personal = bool(request.facts.get("personal"))
        view = self._read_view(request.query.get("id", ""), viewer, personal=personal)
        explained = None if view.decision is None else explain_decision(view.decision, self._models, PLAIN)
        reasons, base = explained or (view.reasons, None)
        texts = load_texts()
        words = (texts("reasons.usual"), texts("reasons.others"), texts("reasons.this"))
        query = ListQuery.parse_place(
            request.query.get("list", ""), convert_us_to_day(view.latest.at_us), view.office
        )
        place = find_place(self._lists.get(query.day), query, viewer, view.name)
        day = format_day(query.day)
        return "consignment", {
            "c": view, "waterfall": draw_waterfall(reasons, base, words) if reasons else None, "width": WIDTH,
            "actions": ACTIONS, "results": RESULTS, "families": texts.list_codes("family"), "substances": list_substances(),
            "form": _read_form(request), "fault": request.facts.get("fault"), "done": self._read_done(request, viewer),
            "place": place, "here": query.build_query(day, page=place.page), "go": _goes_on(request),
            "day": day, "sends": self._drafts is not None,
        }  # fmt: skip

    def _read_done(self, request: PageRequest, viewer: Viewer) -> Values | None:
        """Read what the viewer recorded last for the consignment that the page was called with as `done`."""
        name = request.query.get("done")
        if not name:
            return None
        view = self._read_view(name, viewer, personal=False)
        own = (each for each in view.timeline if each.kind in ACTS and each.by in (viewer.person, viewer.key))
        entry = next(own, None)
        return None if entry is None else {"c": view, "entry": entry}

    def _read_view(self, identifier: str, viewer: Viewer, *, personal: bool) -> ConsignmentView:
        """Read a consignment that the viewer may see."""
        events = self.log.read_consignment_events(normalize_identifier(identifier))
        latest = find_counting_version(events)
        if latest is None or not viewer.may_see(PLAIN.read_office(latest)):
            raise PageNotFound
        opened = EventCodec(self._open_vault(), Consignment, ())
        return build_view(events, latest, opened, personal=personal and viewer.may("personal"))

    def _view_links(self, request: PageRequest, viewer: Viewer) -> tuple[str, Values]:
        view = self._read_view(request.query.get("id", ""), viewer, personal=False)
        table = self._links.get()
        if table is None:
            return "preparing", {}
        trace = _trace(table, view.name, request.now_us)
        hidden = set[str]()
        if trace is not None and viewer.offices is not None:
            hidden = find_foreign(trace, table, self.log, PLAIN, viewer.may_see)
        drawn = None if trace is None else draw_links(trace)
        return "links", {"c": view, "map": drawn, "hidden": hidden}

    def _view_hunt(self, request: PageRequest, viewer: Viewer) -> tuple[str, Values]:
        alert = request.query.get("alert", "")
        name = alert or self._read_view(request.query.get("id", ""), viewer, personal=False).name
        reading = self._hunts.start(name, bool(alert), request.now_us)
        found = None if reading is None else reading.get()
        if reading is None or (found is None and not reading.complete):
            return "preparing", {}
        linked, hidden = (
            ([], set[str]()) if alert or found is None else self._list_linked(name, found, request, viewer)
        )
        values = {"linked": linked, "hidden": hidden, **list_hunt_values(found, viewer)}
        return "hunt", {"name": name, "alert": bool(alert), **values}

    def _list_linked(
        self, name: str, found: Hunt, request: PageRequest, viewer: Viewer
    ) -> tuple[list[LinkedConsignment], set[str]]:
        """List the linked consignments that a hunt does not name, and those of other offices among them."""
        table = self._links.get()
        trace = None if table is None else _trace(table, name, request.now_us)
        if table is None or trace is None:
            return [], set()
        named = {row.consignment_id for row in found.hits}
        linked = [
            each for each in trace.consignments if each.distance == 1 and each.consignment_id not in named
        ]
        seen = viewer.offices is None
        return linked, set() if seen else find_foreign(trace, table, self.log, PLAIN, viewer.may_see)

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
        """Answer with the documents that an officer approves, as JSON: 409 if the form has other facts, 503 if they are not written yet."""
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
        personal = bool(request.facts.get("personal")) and viewer.may("personal")
        return "alerts", {
            "rows": list_alert_rows(yields, request.now_us, personal=personal),
            "messages": list_message_rows(yields),
            "key_fault": self._key_fault,
            "personal": personal,
        }

    def _view_model(self, request: PageRequest, _viewer: Viewer) -> tuple[str, Values]:
        traffic = self._traffic.summarize(request.now_us)
        return "model", {
            "model": request.facts["model"],
            "traffic": traffic,
            "format_day": format_day,
            "period": DAYS,
        }

    def _view_try(self, request: PageRequest, _viewer: Viewer) -> tuple[str, Values]:
        facts = request.facts
        return "try", {
            "results": facts.get("results"),
            "form": _read_form(request),
            "faults": facts.get("faults", []),
        }


def _goes_on(request: PageRequest) -> bool:
    """Check whether the officer goes on to the next consignment after an act: as chosen before, else if they came from a list."""
    form = request.facts.get("form")
    return "list" in request.query if form is None else form.get("go") == "1"


def _read_form(request: PageRequest) -> defaultdict[str, str]:
    """Return what was entered before; a field that was not is empty."""
    return defaultdict(str, request.facts.get("form", {}))


def _trace(table: LinkTable, name: str, now_us: int) -> LinkTrace | None:
    try:
        return trace_consignment(table, name, now_us)
    except NpsriskError:
        return None
