"""The gateway's OpenAPI document: what litestar derives from the handlers, put right where the program does otherwise.

Pure. `python -m pipeline.gateway` writes it among the generated documents.
"""

from typing import Any

_PROBLEM = {
    "type": "object",
    "title": "Problem",
    "properties": {
        "error": {"type": "integer", "description": "the status"},
        "detail": {"type": "string", "description": "which parameter or field, and what it takes"},
    },
    "required": ["error", "detail"],
}
_FAULTS = {
    "400": "the request cannot be read, or says what is not taken",
    "401": "the token, or the sender's signature, is missing or wrong",
    "403": "sent by a browser from another site's page",
    "404": "there is no such thing",
    "413": "the body is too large",
    "503": "PostgreSQL, Qdrant or Kafka is away: try again",
}
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "a token of API_TOKEN, where that is set"},
    "basic": {"type": "http", "scheme": "basic", "description": "the same as a password, whoever the user"},
}
_SLACK = "/v1/slack/actions"
_WEBHOOKS = "/v1/webhooks/{source}"
_ALONE = {"/healthz", "/v1/actions"}
"""What needs no outside system."""
_BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    _WEBHOOKS: (
        "application/json",
        {
            "type": "object",
            "description": "a notification as the source sends it: deploy/WEBHOOKS.md",
        },
    ),
    _SLACK: (
        "application/x-www-form-urlencoded",
        {
            "type": "object",
            "properties": {"payload": {"type": "string", "description": "Slack's interaction, JSON"}},
            "required": ["payload"],
        },
    ),
}
"""Of the routes that read their bodies themselves: media type and schema."""


def described(document: dict[str, Any]) -> dict[str, Any]:
    """The document with every status, every body, and values that may be of several kinds."""
    found: dict[str, Any] = _any_of(document)
    found["components"]["schemas"]["Problem"] = _PROBLEM
    found["components"]["securitySchemes"] = _SCHEMES
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            operation["responses"] = {
                status: answer for status, answer in operation["responses"].items() if status not in _FAULTS
            } | {status: _problem(status) for status in _faults(path, method)} | _own(operation)  # fmt: skip
            if path.startswith("/v1/") and path != _SLACK:
                operation["security"] = [*({name: []} for name in _SCHEMES), {}]
            if path in _BODIES:
                media, schema = _BODIES[path]
                operation["requestBody"] = {"content": {media: {"schema": schema}}, "required": True}
    return found


def _faults(path: str, method: str) -> list[str]:
    says = {
        "400": path.startswith("/v1/"),  # a parameter that is not known, if nothing else
        "401": path.startswith("/v1/"),
        "403": method != "get",
        "404": "{" in path or path == _SLACK,
        "413": method == "post",
        "503": path not in _ALONE,
    }
    return [status for status, does in says.items() if does]


def _own(operation: dict[str, Any]) -> dict[str, Any]:
    """What the handler itself says of a status that is a problem elsewhere: readiness."""
    return {status: answer for status, answer in operation["responses"].items() if status == "503"}


def _problem(status: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": _FAULTS[status], "content": {"application/json": {"schema": schema}}}


def _any_of(schema: Any) -> Any:
    """Litestar says oneOf for a union, but 4 is a number and an integer."""
    if isinstance(schema, dict):
        return {"anyOf" if name == "oneOf" else name: _any_of(value) for name, value in schema.items()}
    return [_any_of(item) for item in schema] if isinstance(schema, list) else schema
