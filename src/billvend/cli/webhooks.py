"""Commands for what the outside is told: webhooks list, replay, enable."""

from typing import TYPE_CHECKING, Annotated

import typer

from billvend.cli.exits import Exit
from billvend.cli.opening import opened
from billvend.cli.options import DatabaseUrl, Json, Limit, example
from billvend.cli.output import BAD, DOUBT, GOOD, QUIET, Block, Line, Table, show

if TYPE_CHECKING:
    from billvend.ports.outbox import DisabledEndpoint, Told

commands = typer.Typer()
webhooks = typer.Typer(
    help="See what was told to whom, and tell it again.", epilog=example("billvend webhooks list --failed")
)
commands.add_typer(webhooks, name="webhooks")


@webhooks.command(
    "list", epilog=example("billvend webhooks list --failed", "billvend webhooks list --channel mail")
)
def list_(
    failed: Annotated[
        bool, typer.Option("--failed", help="Only what was tried in vain, and not delivered since.")
    ] = False,
    channel: Annotated[
        str, typer.Option("--channel", metavar="CHANNEL", help="webhook, mail or console.")
    ] = "webhook",
    limit: Limit = 20,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """List messages with what became of them, the newest first."""
    from billvend.views import endpoint_document, message_document

    with opened(database_url) as bv:
        found = bv.webhooks(limit=limit, channel=channel, failed=failed)
        disabled = bv.disabled_endpoints()
    document = {
        "items": [message_document(told) for told in found],
        "disabledEndpoints": [endpoint_document(endpoint) for endpoint in disabled],
    }
    rows = [_row(told) for told in found]
    table = Table(("Message", "Type", "Transaction", "Status", "Tries", "Last answer", "Next try"), rows)
    none = Line("Nothing failed." if failed else "Nothing was told yet.", QUIET)
    show(as_json, document, table if rows else none, *(_disabled(endpoint) for endpoint in disabled))
    return Exit.DONE


@webhooks.command(epilog=example("billvend webhooks replay msg_5f0c1d2e3a4b5c6d7e8f90a1b2c3d4e5"))
def replay(
    message: Annotated[str, typer.Argument(metavar="ID", help="As `webhooks list` shows it.")],
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Tell something again, also what was delivered before.

    It has the id that it had: who got it before can see that. Where its channel is not set up here, a worker sends it.
    """
    from billvend.views import message_document

    with opened(database_url) as bv:
        told = bv.replay(message)
    show(as_json, message_document(told), *_replayed(told))
    return Exit.DONE


@webhooks.command(epilog=example("billvend webhooks enable"))
def enable(as_json: Json = False, database_url: DatabaseUrl = None) -> Exit:
    """Let webhooks go again where they were disabled by an answer 410. What has waited goes out first."""
    with opened(database_url) as bv:
        enabled = bv.enable_webhooks()
    done = Line("Webhooks are enabled again: a worker sends what has waited.", GOOD)
    same = Line("No endpoint was disabled.", QUIET)
    show(as_json, {"enabled": enabled}, done if enabled else same)
    return Exit.DONE


def _row(told: "Told") -> tuple[str, ...]:
    from billvend.views import message_status, when

    message, last = told.message, told.tries[-1] if told.tries else None
    return (
        message.message_id,
        message.kind,
        message.transaction_id,
        message_status(message).replace("_", " "),
        str(len(told.tries)),
        last.detail if last else "",
        when(message.next_at) or "",
    )


def _replayed(told: "Told") -> list[Block]:
    from billvend.ports.outbox import End

    last = told.tries[-1] if told.tries else None
    if told.message.ended is End.DELIVERED and last is not None:
        return [Line(f"Delivered to {last.target}: {last.detail}.", GOOD)]
    if told.message.tries and last is not None:
        return [Line(f"Not delivered: {last.detail}. It is tried again by a worker.", BAD)]
    return [Line("It is due, and waits for a worker.", DOUBT)]


def _disabled(endpoint: "DisabledEndpoint") -> Block:
    from billvend.views import when

    since = f"{endpoint.target} is disabled since {when(endpoint.disabled_at)} ({endpoint.because})"
    return Line(f"{since}: what is for it waits. See: billvend webhooks enable", DOUBT)
