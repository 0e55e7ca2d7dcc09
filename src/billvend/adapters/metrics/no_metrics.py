"""No metrics: for commands, which end before a monitor could read them."""

from collections.abc import Sequence

from billvend.ports.telemetry import Gauge, Observation


class NoMetrics:
    """A `billvend.ports.telemetry.Metrics` that counts nothing."""

    def observe(self, observation: Observation) -> None:
        """See the port."""

    def exposition(self, gauges: Sequence[Gauge]) -> str:
        """See the port."""
        return ""
