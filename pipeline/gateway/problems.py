"""What is wrong with a request, in words of HTTP and not of Python: which parameter or field, and what it takes."""

import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

import msgspec.inspect
import structlog
from litestar import Request, Response
from litestar.constants import RESERVED_KWARGS
from litestar.exceptions import HTTPException
from litestar.utils import normalize_path
from msgspec.inspect import Type

from pipeline.errors import Rejected, Unavailable
from pipeline.gateway.token import shows

API, WEBHOOKS = "/v1/", "/v1/webhooks/"
log = structlog.get_logger()
_MISSING = re.compile(r"missing required field `(.+)`")
_UNKNOWN = re.compile(r"contains unknown field `(.+)`")
_PLAIN: dict[type[Type], str] = {
    msgspec.inspect.BoolType: "true or false",
    msgspec.inspect.DateTimeType: "a time with its zone, like 2026-01-31T10:00:00Z",
    msgspec.inspect.ListType: "a list",
    msgspec.inspect.DictType: "an object",
    msgspec.inspect.StructType: "an object",
}


def admission(
    allowed: Collection[str], tokens: Collection[bytes] | None, signed: Collection[str]
) -> Callable[[Request[Any, Any, Any]], Awaitable[None]]:  # fmt: skip
    """What is refused before any handler: each of the four below says what, and why."""

    async def admit(request: Request[Any, Any, Any]) -> None:
        if tokens is not None:
            _refuse_unknown(request, tokens, signed)
        _refuse_nul(request)
        _refuse_misspelt(request, signed)
        _refuse_strangers(request, allowed)

    return admit


def _refuse_unknown(request: Request[Any, Any, Any], tokens: Collection[bytes], signed: Collection[str]) -> None:
    """Refuse who asks the API for something and shows none of the ``tokens``. Raises `HTTPException`.

    ``signed`` are paths of it whose handlers check a signature. A sender that has its token in its address shows it
    only to who asks with ``Basic``; a browser would ask its user then, so that is for webhooks alone.
    """
    path = normalize_path(request.scope["path"])
    if not f"{path}/".startswith(API) or path in signed:
        return
    if not shows(request.headers.get("authorization", ""), tokens):
        challenge = 'Basic realm="PulseGuard", Bearer' if path.startswith(WEBHOOKS) else "Bearer"
        raise HTTPException(
            "the token is missing or wrong: show one of API_TOKEN as Authorization: Bearer TOKEN",
            status_code=401, headers={"WWW-Authenticate": challenge},
        )  # fmt: skip


def _refuse_strangers(request: Request[Any, Any, Any], allowed: Collection[str]) -> None:
    """Refuse what another site's page makes a browser send: it needs no answer to do harm. Raises `HTTPException`.

    Browsers say so in ``Sec-Fetch-Site``, or, over plain HTTP, by an ``Origin`` that is not the host they ask; programs
    send neither. ``allowed`` are origins that may.
    """
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if request.method in {"GET", "HEAD", "OPTIONS"} or origin in allowed:
        return
    if site is None and origin is not None:
        site = "same-origin" if origin.partition("://")[2] == request.headers.get("host") else "cross-site"
    if site not in {None, "same-origin", "none"}:
        raise HTTPException("this origin is not allowed: see ALLOW_ORIGINS", status_code=403)


def _refuse_nul(request: Request[Any, Any, Any]) -> None:
    """Refuse a NUL in path or query of the API: PostgreSQL stores none. Raises `HTTPException`."""
    path = request.scope["path"]
    asked = request.query_params.multi_items() if normalize_path(path).startswith(API) else ()
    for name, value in [("path", path), *asked]:
        if "\0" in value:
            raise HTTPException(f"{name}: a NUL is no text", status_code=400)


def _refuse_misspelt(request: Request[Any, Any, Any], signed: Collection[str]) -> None:
    """Refuse a parameter of the query that the API does not know: without it, the answer is to another question.

    But not where others call, at the webhooks and paths ``signed``: they add to an address what they like. Raises
    `HTTPException`.
    """
    path = normalize_path(request.scope["path"])
    if not path.startswith(API) or path.startswith(WEBHOOKS) or path in signed or request.method == "OPTIONS":
        return
    parameters = request.route_handler.parsed_fn_signature.parameters
    known = [_shown(parameters, key) for key in parameters if key not in {*RESERVED_KWARGS, *request.path_params}]
    for name in request.query_params:
        if name not in known:
            there_is = f"only {', '.join(known)}" if known else "nor is any other here"
            raise HTTPException(f"{name[:100]}: is not known, {there_is}", status_code=400)


def refusing(
    tokens: Collection[bytes] | None, signed: Collection[str]
) -> Callable[[Request[Any, Any, Any], HTTPException], Response[dict[str, Any]]]:  # fmt: skip
    """What litestar or a handler refuses. Where no route was found nobody was asked for a token yet."""

    def answer(request: Request[Any, Any, Any], exc: HTTPException) -> Response[dict[str, Any]]:
        if tokens is not None and "path_template" not in request.scope:
            try:
                _refuse_unknown(request, tokens, signed)
            except HTTPException as unknown:
                exc = unknown
        return refused(request, exc)

    return answer


def refused(request: Request[Any, Any, Any], exc: HTTPException) -> Response[dict[str, Any]]:
    """What is wrong with the request, whoever refuses it."""
    if not isinstance(exc.extra, list):
        return _problem(exc.status_code, exc.detail[:2000], exc.headers)
    handler = request.route_handler
    takes = msgspec.inspect.type_info(handler.signature_model)
    parameters = handler.parsed_fn_signature.parameters
    faults = []
    for error in exc.extra:
        key = error.get("key", "")
        told = fault_of(takes, key, error["message"], error.get("source"))
        faults.append(told.replace(key, _shown(parameters, key), 1))
    return _problem(exc.status_code, "; ".join(faults)[:2000], exc.headers)


def _shown(parameters: Mapping[str, Any], key: str) -> str:
    """A handler's parameter as the query has it: a name that litestar keeps for itself is another one in Python."""
    asked = parameters[key].kwarg_definition if key in parameters else None
    return getattr(asked, "name", None) or key


def away(_: Request[Any, Any, Any], exc: Unavailable) -> Response[dict[str, Any]]:
    """503: try again."""
    return _problem(503, str(exc), {"Retry-After": "1"})


def bad(_: Request[Any, Any, Any], exc: Rejected) -> Response[dict[str, Any]]:
    """400, with the reason."""
    return _problem(400, exc.reason)


def no_file(_: Request[Any, Any, Any], __: HTTPException) -> Response[dict[str, Any]]:
    """404: a path that no file can have."""
    return _problem(404, "there is no such file")


def too_deep(_: Request[Any, Any, Any], __: RecursionError) -> Response[dict[str, Any]]:
    """400: only a body can nest so deep."""
    return _problem(400, "the body is nested too deeply")


def no_text(_: Request[Any, Any, Any], __: UnicodeDecodeError) -> Response[dict[str, Any]]:
    """400: only a body can be that."""
    return _problem(400, "the body is not UTF-8")


def bug(request: Request[Any, Any, Any], exc: Exception) -> Response[dict[str, Any]]:
    """500, and its traceback in the log: litestar itself would write it nowhere."""
    log.error("gateway_bug", method=request.method, path=request.scope["path"], exc_info=exc)
    return _problem(500, "a bug of PulseGuard: its log has the traceback")


def fault_of(takes: Type, key: str, message: str, source: str | None) -> str:
    """One sentence for one of litestar's validation errors; ``takes`` are all parameters of the handler, typed.

    msgspec tells a missing and an unknown field in words only; what is wrong with a value is told by its type.
    """
    inside = "" if key == "data" else key
    path = [part for part in re.sub(r"\[[^\]]*\]", ".*", inside).split(".") if part]
    kind = _at(takes, ["data", *path] if source == "body" else path)
    missing, unknown = _MISSING.search(message), _UNKNOWN.search(message)
    if missing:
        return f"{'.'.join([*path, missing.group(1)])}: is missing"
    if unknown:
        known = ", ".join(field.encode_name for field in getattr(kind, "fields", ()))
        return f"{'.'.join([*path, unknown.group(1)])}: is not known, only {known}"
    return f"{inside or 'the body'}: expected {described(kind)}"


def described(kind: Type | None) -> str:
    """What a value of the type looks like; null is left out where it may be."""
    if isinstance(kind, msgspec.inspect.Metadata):
        return described(kind.type)
    if isinstance(kind, msgspec.inspect.UnionType):
        return " or ".join(described(one) for one in kind.types if not isinstance(one, msgspec.inspect.NoneType))
    if isinstance(kind, msgspec.inspect.LiteralType):
        return f"one of {', '.join(str(value) for value in kind.values)}"
    if isinstance(kind, msgspec.inspect.IntType | msgspec.inspect.FloatType):
        name = "an integer" if isinstance(kind, msgspec.inspect.IntType) else "a number"
        return name + _range(kind.ge, kind.le, "", "")
    if isinstance(kind, msgspec.inspect.StrType):
        return "text" + _range(kind.min_length, kind.max_length, " of", " characters")
    return "another value" if kind is None else _PLAIN.get(type(kind), "another value")


def _range(least: float | None, most: float | None, before: str, after: str) -> str:
    if least is not None and most is not None:
        return f"{before} from {least} to {most}{after}" if not before else f"{before} {least} to {most}{after}"
    if least is not None:
        return f"{before} at least {least}{after}"
    return "" if most is None else f"{before} at most {most}{after}"


def _at(kind: Type | None, path: list[str]) -> Type | None:
    """The type of what stands at ``path``, where ``*`` is any element; None where that cannot be told."""
    for name in path:
        kinds = kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)
        below: list[Type] = []
        for one in kinds:
            if isinstance(one, msgspec.inspect.StructType):
                below += [field.type for field in one.fields if field.encode_name == name]
            elif isinstance(one, msgspec.inspect.DictType):
                below.append(one.value_type)
            elif isinstance(one, msgspec.inspect.ListType):
                below.append(one.item_type)
        kind = below[0] if below else None
    return kind


def _problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response[dict[str, Any]]:
    return Response({"error": status, "detail": detail}, status_code=status, headers=dict(headers or {}))
