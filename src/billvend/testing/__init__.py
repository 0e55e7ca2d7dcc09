"""For those who write an adapter: the suite that it has to pass, and a server that plays the other side.

    class TestAcme(ProviderConformance): ...    in a module that pytest collects; see docs/adapters.md

Nothing of billvend imports this. It is run by pytest, which a plug-in's project installs for itself, and imports nothing
that billvend does not need anyway.

    conformance   the suite                       faults   what the other side does instead of answering
    other_side    the server, over raw sockets
"""

from billvend.testing.conformance import ProviderConformance
from billvend.testing.faults import FAULTS, Fault
from billvend.testing.other_side import OtherSide, Talk, http_answer

__all__ = ["FAULTS", "Fault", "OtherSide", "ProviderConformance", "Talk", "http_answer"]
