"""Past incidents over HTTP: search, list, add, retire."""

from typing import Annotated, Any

import msgspec
from litestar import delete, get, post
from litestar.exceptions import HTTPException
from litestar.params import Parameter

from pipeline import kafka
from pipeline.catalogue import Catalogue
from pipeline.errors import Rejected
from pipeline.gateway.parameters import Limit
from pipeline.index import FILTERS, Index
from pipeline.settings import Settings
from pipeline.stages.ingest import check_texts
from pipeline.stages.proposals import Proposals
from pipeline.stages.record import Record
from pipeline.words import Query
from schemas import Evidence, Incident
from schemas.incident import Outcome


def routes(
    settings: Settings, record: Record, index: Index, sender: kafka.Sender, catalogue: Catalogue
) -> list[Any]:  # fmt: skip
    """The handlers. What changes goes by the topic, and so to every worker."""

    @get("/v1/incidents/search", summary="Past incidents by what was seen")
    async def search(
        q: Annotated[str, Parameter(min_length=1, max_length=2000, description="what was seen")], limit: Limit = 5,
        service: str | None = None, error_type: str | None = None, fault_class: str | None = None,
        outcome: Outcome | None = None,
    ) -> list[Evidence]:  # fmt: skip
        asked = zip(FILTERS, (service, error_type, fault_class, outcome), strict=True)
        only = {field: value for field, value in asked if value is not None}
        return (await index.search([Query(q)], limit, only=only))[0].evidence

    @get("/v1/incidents", summary="Past incidents")
    async def incidents(limit: Limit = 50) -> list[Incident]:
        return await record.incidents(limit=limit)

    @post("/v1/incidents", status_code=202, summary="Add or change an incident")
    async def add_incident(data: Incident) -> dict[str, str]:
        told = (data.symptoms, data.diagnosis, data.root_cause, data.mitigation)
        if data.action is None and not any(text.strip() for text in told):
            raise Rejected("an incident tells something: one of symptoms, diagnosis, root_cause, mitigation, action")
        check_texts(data)  # else the learner would bury it, and nobody here would know
        if data.action is not None:
            catalogue.check(data.action)  # else it would never be advised
        await sender.send(settings.topic_incidents, data.id.encode(), msgspec.json.encode(data))
        return {"id": data.id}

    @delete("/v1/incidents/{incident_id:path}", status_code=202, summary="Retire an incident: it is advised no more")
    async def retire_incident(incident_id: str) -> dict[str, str]:
        incident_id = incident_id.removeprefix("/")  # a path's, for an id with a slash in it
        if not await record.has_incident(incident_id):
            raise HTTPException(f"no incident {incident_id}", status_code=404)
        await sender.send(settings.topic_incidents, incident_id.encode(), None)
        return {"id": incident_id}

    @get("/v1/proposals", summary="What verdicts taught and what waits for approval (LEARN_APPROVAL), the oldest first")
    async def proposed(limit: Limit = 50) -> list[Incident]:
        return await Proposals(record).waiting(limit)

    @post(
        "/v1/proposals/{incident_id:str}", status_code=202, summary="Approve what is proposed: it becomes an incident"
    )
    async def approve(incident_id: str) -> dict[str, str]:
        async def teach(incident: Incident) -> None:
            await sender.send(settings.topic_incidents, incident.id.encode(), msgspec.json.encode(incident))

        return _found(incident_id, known=await Proposals(record).approve(incident_id, teach))

    @delete("/v1/proposals/{incident_id:str}", status_code=200, summary="Dismiss what is proposed")
    async def dismiss(incident_id: str) -> dict[str, str]:
        return _found(incident_id, known=await Proposals(record).drop(incident_id))

    return [search, incidents, add_incident, retire_incident, proposed, approve, dismiss]


def _found(incident_id: str, *, known: bool) -> dict[str, str]:
    if not known:
        raise HTTPException(f"nothing is proposed as {incident_id}", status_code=404)
    return {"id": incident_id}
