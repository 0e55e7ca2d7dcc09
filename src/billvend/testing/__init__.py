"""For authors of provider adapters: a conformance suite, and a server that plays the provider.

    class TestAcme(ProviderConformance): ...    in a module that pytest collects; see docs/adapters.md

    conformance, account_conformance    the suite
    harness          what it runs on, and what the author defines
    server_faults    what the server does instead of answering
    fault_server     the server, over raw sockets

billvend itself does not import this package. It needs no dependency but billvend's own. The plug-in's project installs
pytest to run it.
"""

from billvend.testing.conformance import ProviderConformance
from billvend.testing.fault_server import Connection, FaultServer, http_response
from billvend.testing.server_faults import FAULTS, Fault

__all__ = ["FAULTS", "Fault", "FaultServer", "ProviderConformance", "Connection", "http_response"]
