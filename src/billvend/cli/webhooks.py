"""Commands for notifications: webhooks list, replay, enable."""

from typing import TYPE_CHECKING, Annotated

import typer

from billvend.cli.context import billvend_context
from billvend.cli.exits import Exit
from billvend.cli.options import DatabaseUrl, Json, MaxItems, example
from billvend.cli.output import BAD, DOUBT, GOOD, QUIET, Block, Line, Table, print_result

if TYPE_CHECKING:
    from billvend.ports.repositories import DisabledEndpoint, Message

commands = typer.Typer()
webhooks = typer.Typer(
    help="List notifications, and send them again.", epilog=example("billvend webhooks list --failed")
)
commands.add_typer(webhooks, name="webhooks")


@webhooks.command(
    "list", epilog=example("billvend webhooks list --failed", "billvend webhooks list --channel mail")
)
def list_notifications(
    failed: Annotated[
        bool, typer.Option("--failed", help="Only notifications that failed and were not delivered since.")
    ] = False,
    channel: Annotated[
        str, typer.Option("--channel", metavar="CHANNEL", help="webhook, mail or console.")
    ] = "webhook",
    limit: MaxItems = 20,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """List notifications with their delivery status, newest first."""
    from billvend.presentation import endpoint_json, notification_json

    with billvend_context(database_url) as bv:
        messages = bv.notification_history(limit=limit, channel=channel, failed=failed)
        endpoints = bv.disabled_endpoints()
    document = {
        "items": [notification_json(each) for each in messages],
        "disabledEndpoints": [endpoint_json(endpoint) for endpoint in endpoints],
    }
    rows = [_notification_row(each) for each in messages]
    table = Table(
        ("Message", "Type", "Transaction", "Status", "Attempts", "Last response", "Next attempt"), rows
    )
    empty_line = Line("Nothing failed." if failed else "No notifications yet.", QUIET)
    print_result(
        as_json,
        document,
        table if rows else empty_line,
        *(_render_endpoint(endpoint) for endpoint in endpoints),
    )
    return Exit.DONE


@webhooks.command(epilog=example("billvend webhooks replay msg_5f0c1d2e3a4b5c6d7e8f90a1b2c3d4e5"))
def replay(
    message: Annotated[str, typer.Argument(metavar="ID", help="As printed by billvend webhooks list.")],
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Send a notification again, even if it was delivered.

    It keeps its id, so that the receiver can recognise it. If its channel is not configured here, a worker sends it.
    """
    from billvend.presentation import notification_json

    with billvend_context(database_url) as bv:
        replayed = bv.replay_notification(message)
    print_result(as_json, notification_json(replayed), *_render_replay(replayed))
    return Exit.DONE


@webhooks.command(epilog=example("billvend webhooks enable"))
def enable(as_json: Json = False, database_url: DatabaseUrl = None) -> Exit:
    """Enable webhooks again after an endpoint answered 410.

    Waiting notifications are sent first.
    """
    with billvend_context(database_url) as bv:
        enabled = bv.enable_webhooks()
    enabled_line = Line("Webhooks are enabled. A worker sends the waiting notifications.", GOOD)
    unchanged_line = Line("No endpoint was disabled.", QUIET)
    print_result(as_json, {"enabled": enabled}, enabled_line if enabled else unchanged_line)
    return Exit.DONE


def _notification_row(message: "Message") -> tuple[str, ...]:
    from billvend.presentation import iso_time, notification_status

    last = message.attempts[-1] if message.attempts else None
    return (
        message.message_id,
        message.kind,
        message.transaction_id,
        notification_status(message).replace("_", " "),
        str(len(message.attempts)),
        last.detail if last else "",
        iso_time(message.next_at) or "",
    )


def _render_replay(message: "Message") -> list[Block]:
    from billvend.ports.repositories import FinalStatus

    last = message.attempts[-1] if message.attempts else None
    if message.final_status is FinalStatus.DELIVERED and last is not None:
        return [Line(f"Delivered to {last.target}: {last.detail}.", GOOD)]
    if message.attempt_count and last is not None:
        return [Line(f"Not delivered: {last.detail}. A worker will retry.", BAD)]
    return [Line("Queued: a worker will send it.", DOUBT)]


def _render_endpoint(endpoint: "DisabledEndpoint") -> Block:
    from billvend.presentation import iso_time

    state = f"{endpoint.target} is disabled since {iso_time(endpoint.disabled_at)} ({endpoint.reason})"
    return Line(f"{state}. Its notifications wait. Run: billvend webhooks enable", DOUBT)
