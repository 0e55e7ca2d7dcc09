"""The HTTP door: parse, one call, render.

app.py          the application, and the blueprint to mount in another one
door.py         how a call is added: its scope, what it reads, what it answers, its line in the log
gate.py         who gets in               in_flight.py, repeats.py    requests that come twice
reading.py      bodies and queries        bodies.py, shapes.py        what is sent and answered, as pydantic models
answers.py      the envelope              errors.py                   the table of statuses
wallet.py, bills.py, transactions.py, hooks.py, running.py            the calls
docs.py         Swagger UI                headers.py                  what browsers are told
"""

from billvend.api.app import blueprint, create_app

__all__ = ["blueprint", "create_app"]
