"""A hint as a message: a small JSON object with two ids, and nothing else.

Never pickle: a writer to the queue's server must not be able to run code here, nor to choose what is done.
"""

import json

from billvend.ports.queue import Hint

MAX_MESSAGE_BYTES = 4096
"""Two ids need a fraction of this. A longer message is not from billvend and is not parsed."""


class MalformedHint(Exception):
    """A message that `encode` cannot have written. The text says why, and repeats nothing of the message."""


def encode(hint: Hint) -> bytes:
    """The hint as a message: JSON, ASCII only."""
    return json.dumps({"user_id": hint.user_id, "transaction_id": hint.transaction_id}).encode("ascii")


def decode(message: object) -> Hint:
    """The hint in a message. Raises `MalformedHint`.

    Unknown members are ignored, so that an older worker can read the messages of a newer version.
    """
    if not isinstance(message, bytes):
        raise MalformedHint(f"{type(message).__name__} instead of bytes")
    if len(message) > MAX_MESSAGE_BYTES:
        raise MalformedHint(f"{len(message)} bytes, over the limit of {MAX_MESSAGE_BYTES}")
    try:
        document = json.loads(message.decode("utf-8"))
    except (ValueError, RecursionError):  # RecursionError: nested too deeply for the parser's stack
        raise MalformedHint("not JSON") from None
    if not isinstance(document, dict):
        raise MalformedHint("not a JSON object")
    return Hint(user_id=_parse_id(document, "user_id"), transaction_id=_parse_id(document, "transaction_id"))


def _parse_id(document: dict[str, object], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise MalformedHint(f"no {name}")
    return value
