"""What several routes take, and what a route takes that reads its body itself."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from litestar.openapi.spec import OpenAPIMediaType, Operation, Reference, RequestBody, Schema
from litestar.params import Parameter, QueryParameter

Limit = Annotated[int, Parameter(ge=1, le=500, description="how many at most")]
Before = Annotated[datetime | None, Parameter(description="made earlier: the created_at of a page's last one")]
BeforeId = Annotated[
    str | None, Parameter(description="and its id: those of that very time that come behind it are given, too")
]
Members = Annotated[
    int, QueryParameter(name="episodes", ge=1, le=10_000, description="how many episodes of each situation at most")
]
OneSituation = Annotated[str | None, QueryParameter(name="id", description="this one alone, however old")]
State = Literal["open", "escalated", "quiet", "resolved"]
"""Of an episode, as the table has it."""


@dataclass
class TakesAnomalies(Operation):
    """An anomaly or a list of them, taken as bytes so that unknown fields are kept: only OpenAPI sees the type."""

    def __post_init__(self) -> None:
        """Name the body."""
        one = Reference(ref="#/components/schemas/Anomaly")
        several = Schema(one_of=[one, Schema(items=one, type="array")])  # type: ignore[arg-type]
        self.request_body = RequestBody({"application/json": OpenAPIMediaType(schema=several)}, required=True)
