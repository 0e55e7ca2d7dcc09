"""Calls of those who run it: health, metrics."""

from flask import Response

from billvend.api.answers import answer, problem
from billvend.api.door import Door
from billvend.api.shapes import HealthShape, LiveShape
from billvend.domain.access import Scope
from billvend.domain.errors import Unavailable
from billvend.ports.measures import CONTENT_TYPE
from billvend.views import health_document


def add_to(door: Door) -> None:
    """Add the calls."""
    bv = door.bv

    @door.get("/health", HealthShape, scope=Scope.READ, tells_of_outages=True)
    def health() -> Response:
        """How each part is, and what waits.

        503, with `data` all the same, when the database is away; other parts that are away make it `degraded`.
        """
        found = bv.health()
        data = health_document(found)
        if found.status == "down":
            return problem(Unavailable("The database is away. Nothing can be accepted now."), data=data)
        return answer(data, f"billvend is {found.status}.")

    @door.get("/metrics", None, scope=Scope.READ, tells_of_outages=True)
    def metrics() -> Response:
        """What was counted, and how things stand, for Prometheus.

        The text of format 0.0.4, of all processes of this server together.
        """
        return Response(bv.metrics(), content_type=CONTENT_TYPE)

    @door.get("/health/live", LiveShape, scope=None)
    def live() -> Response:
        """The process answers."""
        return answer({"status": "ok"}, "The process answers.")
