"""Is it alive, is it ready, how busy is it."""

from fastapi import APIRouter, Request, Response

from deployments.freshness import freshness_of
from deployments.service.metrics import CONTENT_TYPE
from deployments.service.rest import ServiceDepends
from deployments.service.state import caller_of

router = APIRouter(tags=["health"])


@router.get("/health")
async def health() -> dict[str, str]:
    """The process answers."""
    return {"status": "alive"}


@router.get("/ready")
async def ready(service: ServiceDepends, response: Response) -> dict[str, str]:
    """Models are loaded, so the first question is answered as fast as the others; until then, status 503."""
    if not service.ready:
        response.status_code = 503
    return {"status": "ready" if service.ready else "starting"}


@router.get("/metrics")
async def metrics(request: Request, service: ServiceDepends) -> Response:
    """Numbers in Prometheus' form."""
    caller_of(request).require_everything("metrics")
    fresh = await service.searching.run(freshness_of, service.settings)
    return Response(service.metrics.text(fresh), media_type=CONTENT_TYPE)
