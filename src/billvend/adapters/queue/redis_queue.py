"""Hints on Redis 6 or newer, or on another server with its protocol."""

from collections.abc import Callable, Sequence
from contextlib import closing
from time import monotonic

from huey.storage import RedisStorage
from redis import ConnectionPool
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from billvend.adapters.queue.background_sender import TIMEOUT_SECONDS
from billvend.adapters.queue.huey_queue import HueyQueue
from billvend.adapters.queue.huey_storage import storage_name
from billvend.domain.errors import ConfigurationError
from billvend.ports.queue import QueueName

BLOCK_SECONDS = 0.5
"""How long the server holds a read of an empty queue. An idle worker needs so long to notice that it should stop."""
READ_TIMEOUT_SECONDS = 2.0
"""When a worker takes the server for dead. Longer than `BLOCK_SECONDS`, or every idle read would look like an outage."""
MAX_CONNECTIONS = 1024
"""More than there are threads. Connections are opened only as needed."""
_CONNECTION_OPTIONS = {
    # redis-py's client repeats a command ten times, and redis-py 8 waits longer when the server announces
    # maintenance, which only protocol 3 does. Both would break the promise of 200 ms. Sending the client's name costs
    # two more round trips per connection and has no use here.
    "retry": Retry(NoBackoff(), 0),
    "retry_on_error": [],
    "retry_on_timeout": False,
    "protocol": 2,
    "driver_info": None,
    "decode_responses": False,
    "max_connections": MAX_CONNECTIONS,
}


class _RedisHintStorage(RedisStorage):  # type: ignore[misc]
    def put(self, messages: Sequence[bytes]) -> int:
        self.conn.lpush(self.queue_key, *messages)
        return len(messages)

    def dequeue(self) -> object | None:
        # Not Huey's own: it takes a timeout for an empty queue. A server that hangs must be logged as an outage.
        found = self.conn.brpop([self.queue_key], timeout=BLOCK_SECONDS)
        return found[1] if found else None

    def close(self) -> None:
        self.pool.disconnect()


def redis_queue(
    url: str, *, clock: Callable[[], float] = monotonic, timeout_seconds: float = TIMEOUT_SECONDS
) -> HueyQueue:
    """Hints on the server at `url` (`redis://`, `rediss://` or `unix://`). The server may be started later.

    Installations that share a server need a database number each, as in `redis://host/1`. Raises `ConfigurationError`
    for an invalid URL. The message does not repeat the URL, which can hold a password.
    """
    sending_pool = _create_pool(url, timeout_seconds=timeout_seconds)
    return HueyQueue(
        "Redis",
        send_storages={
            queue: _RedisHintStorage(storage_name(queue), connection_pool=sending_pool) for queue in QueueName
        },
        open_storage=lambda queue: closing(
            _RedisHintStorage(
                storage_name(queue), connection_pool=_create_pool(url, timeout_seconds=READ_TIMEOUT_SECONDS)
            )
        ),
        clock=clock,
        timeout_seconds=timeout_seconds,
    )


def _create_pool(url: str, *, timeout_seconds: float) -> ConnectionPool:
    try:
        options = parse_url(url)  # type: ignore[no-untyped-call]
        options.update(
            _CONNECTION_OPTIONS, socket_timeout=timeout_seconds, socket_connect_timeout=timeout_seconds
        )
        pool = ConnectionPool(**options)
        pool.make_connection()  # connects to nothing, but rejects unknown options
    except (TypeError, ValueError):
        raise ConfigurationError(
            "REDIS_URL is not a URL that Redis understands: redis://[user:password@]host:port/number."
        ) from None
    return pool
