"""A hint as a message: a small JSON object with two ids, and nothing else.

Never pickle: a writer to the queue's server must not be able to run code here, nor to choose what is done.
"""

from pydantic import TypeAdapter, ValidationError

from billvend.ports.queue import Hint

MAX_MESSAGE_BYTES = 4096
"""Two ids need a fraction of this. A longer message is not from billvend and is not parsed."""

_HINT = TypeAdapter(Hint)


class MalformedHint(Exception):
    """A message that `encode` cannot have written. The text says why, and repeats nothing of the message."""


def encode(hint: Hint) -> bytes:
    """The hint as a message: JSON, ASCII only."""
    return _HINT.dump_json(hint, ensure_ascii=True)


def decode(message: object) -> Hint:
    """The hint in a message. Raises `MalformedHint`.

    Unknown members are ignored, so that an older worker can read the messages of a newer version.
    """
    if not isinstance(message, bytes) or len(message) > MAX_MESSAGE_BYTES:
        raise MalformedHint(f"not bytes, or more than {MAX_MESSAGE_BYTES}")
    try:
        hint = _HINT.validate_json(message)
    except ValidationError as error:
        raise MalformedHint(error.errors()[0]["msg"]) from None
    if not (hint.user_id and hint.transaction_id):
        raise MalformedHint("an id is empty")
    return hint
