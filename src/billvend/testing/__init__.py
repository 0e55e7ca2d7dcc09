"""For those who write an adapter: the suite that it has to pass, and a server that plays the other side.

    class TestAcme(ProviderConformance): ...    in a module that pytest collects; see docs/adapters.md

Nothing of billvend imports this. It is run by pytest, which a plug-in's project installs for itself, and imports nothing
that billvend does not need anyway.

    conformance   the suite                       server_faults   what the other side does instead of answering
    fault_server  the server, over raw sockets
"""

from billvend.testing.conformance import ProviderConformance
from billvend.testing.fault_server import Connection, FaultServer, http_response
from billvend.testing.server_faults import FAULTS, Fault

__all__ = ["FAULTS", "Fault", "FaultServer", "ProviderConformance", "Connection", "http_response"]
