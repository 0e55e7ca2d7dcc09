"""The HTTP API: parse, one call, render.

app.py          the application, and the blueprint to mount in another one
routing.py      adding a call             request_hooks.py           around every request: log line, errors
auth.py         authorization             idempotency.py             repeated requests
parsing.py      bodies and queries        requests.py                requests as pydantic models
responses.py    the envelope
wallet.py, bills.py, transactions.py, inbound_webhooks.py, health.py  the calls
docs.py         Swagger UI                headers.py                  security headers
server.py       the server                rsgi.py, listening_port.py  its parts
"""

from billvend.api.app import blueprint, create_app

__all__ = ["blueprint", "create_app"]
