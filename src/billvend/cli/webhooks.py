"""Commands for notifications: wallet email, webhooks list, replay, enable."""

import typer

from billvend.cli.blocks import Columns, Item, Line, bad, doubt, good, quiet, table, words
from billvend.cli.context import Session, command
from billvend.cli.options import USER, argument, example, max_items, option
from billvend.cli.output import Output, result

COLUMNS: Columns = {
    "Message": "messageId",
    "Type": "type",
    "Transaction": "transactionId",
    "Status": lambda message: words(message["status"]),
    "Attempts": lambda message: str(len(message["deliveries"])),
    "Last response": lambda message: message["deliveries"][-1]["detail"] if message["deliveries"] else "",
    "Next attempt": "nextTryAt",
}

commands = typer.Typer()
webhooks = typer.Typer(
    help="List notifications, and send them again.", epilog=example("billvend webhooks list --failed")
)
wallet = typer.Typer(help="Manage wallets.", epilog=example("billvend wallet email ada ada@example.com"))
commands.add_typer(wallet, name="wallet")
commands.add_typer(webhooks, name="webhooks")


@command(wallet, "billvend wallet email ada ada@example.com")
def email(
    session: Session, user: str = USER, address: str = argument("ADDRESS: An e-mail address.")
) -> Output:
    """Set the e-mail address of a user.

    Receipts and tokens are sent there. It replaces any other address, and later deposits do not change it.
    """
    session.bv.set_email(user, address)
    return result({"userId": user, "email": address}, good(f"Mail for {user} goes to {address}."))


@command(webhooks, "billvend webhooks list --failed", "billvend webhooks list --channel mail", name="list")
def list_notifications(
    session: Session,
    failed: bool = option("--failed: Only notifications that failed and were not delivered since.", False),
    channel: str = option("--channel CHANNEL: webhook, mail or console.", "webhook"),
    limit: int = max_items(20),
) -> Output:
    """List notifications with their delivery status, newest first."""
    from billvend.presentation.operator_models import EndpointResponse, NotificationResponse

    messages = session.bv.notification_history(limit=limit, channel=channel, failed=failed)
    items = [NotificationResponse.model_validate(message).to_json() for message in messages]
    endpoints = [
        EndpointResponse.model_validate(endpoint).to_json() for endpoint in session.bv.disabled_endpoints()
    ]
    return result(
        {"items": items, "disabledEndpoints": endpoints},
        table(items, COLUMNS, empty="Nothing failed." if failed else "No notifications yet."),
        *map(_endpoint_line, endpoints),
    )


@command(webhooks, "billvend webhooks replay msg_5f0c1d2e3a4b5c6d7e8f90a1b2c3d4e5")
def replay(session: Session, message: str = argument("ID: As printed by billvend webhooks list.")) -> Output:
    """Send a notification again, even if it was delivered.

    It keeps its id, so that the receiver can recognise it. If its channel is not configured here, a worker sends it.
    """
    from billvend.presentation.operator_models import NotificationResponse

    replayed = session.bv.replay_notification(message)
    last = replayed.attempts[-1] if replayed.attempts else None
    if last and replayed.final_status == "delivered":
        line = good(f"Delivered to {last.target}: {last.detail}.")
    elif last and replayed.attempt_count:
        line = bad(f"Not delivered: {last.detail}. A worker will retry.")
    else:
        line = doubt("Queued: a worker will send it.")
    return result(NotificationResponse.model_validate(replayed), line)


@command(webhooks, "billvend webhooks enable")
def enable(session: Session) -> Output:
    """Enable webhooks again after an endpoint answered 410.

    Waiting notifications are sent first.
    """
    enabled = session.bv.enable_webhooks()
    enabled_line = good("Webhooks are enabled. A worker sends the waiting notifications.")
    return result({"enabled": enabled}, enabled_line if enabled else quiet("No endpoint was disabled."))


def _endpoint_line(endpoint: Item) -> Line:
    state = f"{endpoint['target']} is disabled since {endpoint['disabledAt']} ({endpoint['reason']})"
    return doubt(f"{state}. Its notifications wait. Run: billvend webhooks enable")
