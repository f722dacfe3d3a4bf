"""The gateway: HTTP for those who speak no Kafka, the live page, health and metrics."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import structlog
import uvicorn
from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.config.cors import CORSConfig
from litestar.datastructures import CacheControlHeader
from litestar.exceptions import HTTPException, InternalServerException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin
from litestar.params import Parameter, QueryParameter
from litestar.static_files import create_static_files_router
from litestar.types import ASGIApp
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from pipeline import kafka
from pipeline.catalogue import Catalogue
from pipeline.errors import Rejected, Unavailable
from pipeline.gateway import feedback, incidents, problems, silences, slack, webhooks
from pipeline.gateway.answers import Episode, Situation, Stats, situation_of
from pipeline.gateway.openapi import described
from pipeline.gateway.page import DOCS, dashboard
from pipeline.gateway.parameters import Before, BeforeId, Limit, Members, OneSituation, State, TakesAnomalies
from pipeline.gateway.token import tokens_of
from pipeline.index import Index
from pipeline.listen import listener
from pipeline.settings import Settings
from pipeline.sinks.outbox import Outbox
from pipeline.sinks.policy import Policy
from pipeline.stages import ingest
from pipeline.stages.fingerprints import Fingerprints
from pipeline.stages.record import Record
from pipeline.stages.situations import Topology
from pipeline.together import once_for_all
from schemas import Decision, Explanation
from schemas.decision import Verdict as Advised

log = structlog.get_logger()
MAX_LIST = 1000
MAX_BODY = 5 * 2**20


def build(
    settings: Settings, record: Record, index: Index, sender: kafka.Sender, catalogue: Catalogue,
    starting: Mapping[str, asyncio.Event], topology: Topology, fingerprints: Fingerprints,
    fault: Callable[[], str | None] = lambda: None,
) -> Litestar:  # fmt: skip
    """The application, its parts bound as closures. ``starting`` are roles of this process, set once they serve.

    ``fault`` says what is amiss with the process, if anything.
    """

    async def group(asked: tuple[int, int, str | None]) -> list[Situation]:
        limit, most, only = asked
        return [situation_of(found, topology, most) for found in await record.situations(limit=limit, only=only)]

    async def count(_: None) -> Stats:
        return msgspec.convert(await record.stats(), Stats)

    # Both go through much of the record, and every open page asks for them again and again.
    grouped, counted = once_for_all(group), once_for_all(count)

    @post(
        "/v1/anomalies", status_code=202, summary="Publish one anomaly or a list; 202 once Kafka has acknowledged all",
        operation_class=TakesAnomalies,
    )  # fmt: skip
    async def anomalies(request: Request[Any, Any, Any]) -> dict[str, int]:
        events = list(_elements(await request.body()))
        headers = [(name, value.encode()) for name, value in request.headers.items() if name == "traceparent"] + [
            (f"ce_{n[3:]}", v.encode()) for n, v in request.headers.items() if n.startswith("ce-") and len(events) == 1
        ]
        faults: list[bytes] = []
        for number, event in enumerate(events):
            message = kafka.Message(settings.topic_anomalies, 0, 0, None, event, headers, 0)
            try:
                faults.append(fingerprints.of(ingest.decode(message, settings.max_event_bytes)).encode())
            except Rejected as exc:
                raise HTTPException(f"anomaly {number}: {exc.reason}", status_code=400) from exc
        # By their fault, so that what is resolved does not overtake what fired.
        keyed = zip(faults, events, strict=True)
        await asyncio.gather(*(sender.send(settings.topic_anomalies, fault, event, headers) for fault, event in keyed))
        return {"accepted": len(events)}

    @get("/v1/decisions", summary="Decisions, newest first")
    async def decisions(
        limit: Limit = 50, service: str | None = None, verdict: Advised | None = None, before: Before = None,
        before_id: BeforeId = None,
        episode: Annotated[list[str] | None, Parameter(max_items=100, description="of these episodes alone")] = None,
    ) -> list[Decision]:  # fmt: skip
        if before is not None and before.tzinfo is None:
            raise HTTPException("before: expected a time with its zone, like 2026-01-31T10:00:00Z", status_code=400)
        if before_id is not None and before is None:
            raise HTTPException("before_id: expected before with it, the time of that decision", status_code=400)
        return await record.decisions(
            limit=limit, service=service, verdict=verdict, before=before, before_id=before_id, episodes=episode
        )

    @get(
        "/v1/decisions/{decision_id:str}", summary="One decision, byte for byte as on the topic",
        responses={200: ResponseSpec(Decision, generate_examples=False)},
    )  # fmt: skip
    async def decision(decision_id: str) -> Response[bytes]:
        body = await record.decision_body(decision_id)
        if body is None:
            raise HTTPException(f"no decision {decision_id}", status_code=404)
        return Response(body, media_type=MediaType.JSON)

    @get("/v1/episodes", summary="Episodes, last seen first")
    async def episodes(
        limit: Limit = 50, only: Annotated[State | None, QueryParameter(name="state")] = None
    ) -> list[Episode]:
        return msgspec.convert(await record.episodes(limit=limit, state=only), list[Episode])

    @get("/v1/situations", summary="Situations: episodes of one cause, with the probable root; first what goes on")
    async def situations(
        limit: Limit = 50, most: Members = 10_000, only: OneSituation = None
    ) -> list[Situation]:  # fmt: skip
        return await grouped((limit, most, only))

    @get("/v1/stats", summary="Counts of what is on record, and the latency of its decisions in milliseconds")
    async def stats() -> Stats:
        return await counted(None)

    @get(
        "/healthz", summary="The process lives, and its worker, if it has one, fetches what waits",
        media_type=MediaType.TEXT,
        responses={503: ResponseSpec(str, generate_examples=False, description="it wants a restart: why",
            media_type=MediaType.TEXT)},
    )  # fmt: skip
    async def healthz() -> Response[str]:
        found = fault()
        return Response(found or "ok", status_code=503 if found else 200)

    @get(
        "/readyz", summary="200 only when every part serves",
        responses={503: ResponseSpec(dict[str, str], generate_examples=False, description="one does not: which, why")},
    )  # fmt: skip
    async def readyz() -> Response[dict[str, str]]:
        checks = {"postgres": record.ping(), "qdrant": index.ping(), "kafka": kafka.ping(settings)}
        outcomes = await asyncio.gather(*checks.values(), return_exceptions=True)
        parts = {name: "ok" if o is None else str(o) for name, o in zip(checks, outcomes, strict=True)}
        parts |= {role: "ok" if serves.is_set() else "starting" for role, serves in starting.items()}
        return Response(parts, status_code=200 if set(parts.values()) == {"ok"} else 503)

    @get("/metrics", include_in_schema=False)
    async def prometheus() -> Response[bytes]:
        # Not as its media type, to which litestar adds the character set that it has.
        return Response(generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})

    @get("/", include_in_schema=False)
    async def home() -> Response[str]:
        page, headers = dashboard(settings)
        return Response(page, media_type=MediaType.HTML, headers=headers)

    tokens = tokens_of(settings)
    signed = {slack.PATH, *(f"{problems.WEBHOOKS}{source}" for source in webhooks.signatures(settings))}
    verdicts = feedback.Verdicts(settings, record, sender, catalogue)
    static = create_static_files_router(
        "/static", [Path(__file__).parent / "dashboard"], include_in_schema=False,
        cache_control=CacheControlHeader(no_cache=True),  # modules of two releases do not go together
        # What the file system refuses (a file as a folder, a name too long) litestar takes for its own fault.
        exception_handlers={InternalServerException: problems.no_file},
    )  # fmt: skip
    return Litestar(
        [
            anomalies, decisions, decision, _explaining(record), episodes,
            situations, stats, healthz, readyz, prometheus, home, static,
            *feedback.routes(verdicts, record, catalogue),
            *slack.routes(settings, record, verdicts, catalogue),
            *incidents.routes(settings, record, index, sender, catalogue),
            *silences.routes(Outbox(record, Policy())),
            *webhooks.routes(settings, record, sender, fingerprints),
        ],
        openapi_config=OpenAPIConfig(
            "PulseGuard",
            "1",
            path="/docs",
            render_plugins=[_DocsPage(path="/"), _Description(path="/openapi.json")],
        ),
        request_max_body_size=MAX_BODY,
        cors_config=_shared(settings.origins) if settings.origins else None,
        before_request=problems.admission(settings.origins, tokens, signed),
        exception_handlers={
            HTTPException: problems.refusing(tokens, signed), Unavailable: problems.away, Rejected: problems.bad,
            RecursionError: problems.too_deep, UnicodeDecodeError: problems.no_text, Exception: problems.bug,
        },
    )  # fmt: skip


async def serve_gateway(app: Litestar, settings: Settings, listens: asyncio.Event) -> None:
    """Serve until cancelled, and say when it ``listens``. Raises `Misconfigured` when the port is taken."""
    if settings.api_is_open:
        log.warning("api_is_open", host=settings.host, detail="API_TOKEN is not set: whoever reaches it may use it")
    taken = listener(settings.host, "HTTP_PORT", settings.http_port)
    config = uvicorn.Config(
        _with_head(app), log_config=None, log_level="warning", access_log=False, timeout_graceful_shutdown=2,
        lifespan="off",
    )  # fmt: skip
    server = _Server(config, listens)
    serving = asyncio.create_task(server.serve(sockets=[taken]))
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await serving


def _shared(origins: Collection[str]) -> CORSConfig:
    """What pages of other origins may do: ask with a token, which a browser sends only once it has been told so.

    Its question shows none, and is answered before anybody is asked for one.
    """
    return CORSConfig(
        allow_origins=sorted(origins), allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["Authorization", "Content-Type"],
    )  # fmt: skip


def _explaining(record: Record) -> HTTPRouteHandler:
    @get("/v1/decisions/{decision_id:str}/explain", summary="All that a decision came of, prompt and raw answers too")
    async def explain(decision_id: str) -> Explanation:
        found = await record.explanations(decision_id=decision_id)
        if not found:
            raise HTTPException(f"no decision {decision_id}", status_code=404)
        return found[0]

    return explain


class _Description(JsonRenderPlugin):
    """The document as it is committed."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return self.render_json(request, described(openapi_schema))


class _DocsPage(OpenAPIRenderPlugin):
    """Litestar's own renderers fetch scripts from elsewhere; this page is all ours."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:  # noqa: ARG002
        return DOCS.encode()


def _with_head(app: Litestar) -> ASGIApp:
    """HEAD wherever there is GET, as probes and balancers ask; uvicorn leaves the body out."""

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await app(scope | {"method": "GET"} if scope.get("method") == "HEAD" else scope, receive, send)

    return asgi


class _Server(uvicorn.Server):
    """Uvicorn without its own signal handlers: the program has one owner for these. It says when it ``listens``."""

    def __init__(self, config: uvicorn.Config, listens: asyncio.Event) -> None:
        super().__init__(config)
        self._listens = listens

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listens.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _elements(body: bytes) -> Iterator[bytes]:
    """One JSON object's bytes, or those of each element of a list, as they came: unknown fields are kept."""
    stripped = body.strip()
    if not stripped.startswith(b"["):
        yield stripped
        return
    try:
        elements = msgspec.json.decode(stripped, type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError) as exc:
        raise HTTPException(f"not JSON: {exc}", status_code=400) from exc
    if not 1 <= len(elements) <= MAX_LIST:
        raise HTTPException(f"a list holds 1 to {MAX_LIST} anomalies", status_code=400)
    yield from (bytes(element) for element in elements)
