"""The HTTP door: parse, one call, render.

app.py          the application, and the blueprint to mount in another one
routing.py      how a call is added: its scope, what it reads, what it answers, its line in the log
auth.py         who gets in               idempotency.py, replays.py  requests that come twice
parsing.py      bodies and queries        requests.py, schemas.py     what is sent and answered, as pydantic models
responses.py    the envelope              errors.py                   the table of statuses
wallet.py, bills.py, transactions.py, inbound_webhooks.py, health.py  the calls
docs.py         Swagger UI                headers.py                  what browsers are told
"""

from billvend.api.app import blueprint, create_app

__all__ = ["blueprint", "create_app"]
