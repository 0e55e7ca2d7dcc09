"""Calls of those who run it: health, metrics."""

from flask import Response

from billvend.api.responses import error_response, success_response
from billvend.api.routing import ApiRouter
from billvend.api.schemas import HealthResponse, LivenessResponse
from billvend.domain.api_keys import Scope
from billvend.domain.errors import Unavailable
from billvend.ports.telemetry import CONTENT_TYPE
from billvend.presentation import health_json


def add_routes(router: ApiRouter) -> None:
    """Add the calls."""
    bv = router.bv

    @router.get("/health", HealthResponse, scope=Scope.READ, allow_cached_keys=True)
    def health() -> Response:
        """How each part is, and what waits.

        503, with `data` all the same, when the database is away; other parts that are away make it `degraded`.
        """
        report = bv.health()
        data = health_json(report)
        if report.status == "down":
            return error_response(
                Unavailable("The database is away. Nothing can be accepted now."), data=data
            )
        return success_response(data, f"billvend is {report.status}.")

    @router.get("/metrics", None, scope=Scope.READ, allow_cached_keys=True)
    def metrics() -> Response:
        """What was counted, and how things stand, for Prometheus.

        The text of format 0.0.4, of all processes of this server together.
        """
        return Response(bv.metrics(), content_type=CONTENT_TYPE)

    @router.get("/health/live", LivenessResponse, scope=None)
    def live() -> Response:
        """The process answers."""
        return success_response({"status": "ok"}, "The process answers.")
