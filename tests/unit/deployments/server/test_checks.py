"""Findings on the limits of a Prefect server."""

from uuid import uuid4

from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse

from deployments.server.checks import limit_findings


def limit(name: str, most: int, *, taken: int = 0) -> GlobalConcurrencyLimitResponse:
    return GlobalConcurrencyLimitResponse(id=uuid4(), name=name, limit=most, active_slots=taken)


def found(*limits: GlobalConcurrencyLimitResponse, wanted: dict[str, int], alive: bool = False) -> list[str]:
    return [each.text for each in limit_findings({each.name: each for each in limits}, wanted, alive=alive)]


def test_a_limit_that_no_resource_has_is_reported_and_those_of_turns_are_ours() -> None:
    limits = (limit("braid:old", 1), limit("braid:run:ingest:manuals", 1), limit("braid:api", 2))
    assert found(*limits, wanted={"braid:api": 2}) == ["the limit braid:old belongs to no resource of the settings"]
    assert found(*limits[1:], wanted={"braid:api": 2}) == ["limits: braid:run:ingest:manuals, braid:api"]


def test_a_turn_that_no_run_has_is_reported() -> None:
    (text,) = found(limit("braid:run:ingest:manuals", 1, taken=1), wanted={})
    assert "1 of 1 slots of braid:run:ingest:manuals are taken, and no run of this run store is alive" in text
