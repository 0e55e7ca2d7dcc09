"""Calls for operators: health, metrics."""

from flask import Response

from billvend.api.responses import LivenessResponse, error_response, success_response
from billvend.api.routing import ApiRouter
from billvend.domain.api_keys import Scope
from billvend.domain.errors import Unavailable
from billvend.ports.telemetry import CONTENT_TYPE
from billvend.presentation.operator_models import HealthResponse


def add_routes(router: ApiRouter) -> None:
    """Add the calls."""
    bv = router.bv

    @router.call("GET /health", HealthResponse, scope=Scope.READ, allow_cached_keys=True)
    def health() -> Response:
        """Check every component.

        503, still with `data`, when the database is down. Any other component that is down makes it `degraded`.
        """
        report = bv.health()
        data = HealthResponse.of(report)
        if report.status == "down":
            return error_response(
                Unavailable("The database is down. Nothing can be accepted now."), data=data
            )
        return success_response(data, f"billvend is {report.status}.")

    @router.call("GET /metrics", None, scope=Scope.READ, allow_cached_keys=True)
    def metrics() -> Response:
        """Metrics for Prometheus.

        Text format 0.0.4, for all processes of this server together.
        """
        return Response(bv.metrics(), content_type=CONTENT_TYPE)

    @router.call("GET /health/live", LivenessResponse, scope=None)
    def live() -> Response:
        """The process is alive."""
        return success_response(LivenessResponse(status="ok"), "The process answers.")
