"""Endpoints for liveness, readiness and metrics."""

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
    """Whether models are loaded, so that the first question is as fast as later ones; until then, status 503."""
    if not service.ready:
        response.status_code = 503
    return {"status": "ready" if service.ready else "starting"}


@router.get("/metrics")
async def metrics(request: Request, service: ServiceDepends) -> Response:
    """Metrics in Prometheus' format."""
    caller_of(request).require_everything("metrics")
    fresh = await service.searching.run(freshness_of, service.settings)
    return Response(service.metrics.text(fresh), media_type=CONTENT_TYPE)
