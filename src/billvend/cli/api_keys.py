"""Commands for the keys of the HTTP API: api-keys create, list, revoke."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from billvend.cli.context import billvend_context
from billvend.cli.exits import Exit
from billvend.cli.options import DatabaseUrl, Json, example
from billvend.cli.output import DOUBT, GOOD, QUIET, Line, Table, print_blocks, print_result

if TYPE_CHECKING:
    from billvend.domain.api_keys import ApiKey

commands = typer.Typer()
api_keys = typer.Typer(
    epilog=example("billvend api-keys", "billvend api-keys create --scope pay --name till-7"),
    invoke_without_command=True,
)
commands.add_typer(api_keys, name="api-keys")


@api_keys.callback()
def manage(context: typer.Context, as_json: Json = False, database_url: DatabaseUrl = None) -> Exit:
    """Manage the keys of the HTTP API. Without a verb: list them."""
    if context.invoked_subcommand is None:
        return list_keys(as_json, database_url)
    if as_json or database_url is not None:
        raise typer.BadParameter("Give options after the verb.", context)
    return Exit.DONE


@api_keys.command(
    epilog=example(
        "billvend api-keys create --scope pay --name till-7",
        "billvend api-keys create --scope read --scope fund --name shop-front",
    )
)
def create(
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="A name for the key, such as its user.")
    ],
    scope: Annotated[
        list[str],
        typer.Option("--scope", metavar="SCOPE", help="read, pay, fund or operate. May be repeated."),
    ],
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Create a key, and show its secret once.

    Scopes do not include each other: reading needs `read`. From the first key on, requests without a key are rejected.
    """
    from billvend.presentation import api_key_json

    with billvend_context(database_url) as bv:
        created = bv.create_api_key(name, scope)
    print_result(as_json, {**api_key_json(created.key), "secret": created.secret}, Line(created.secret))
    if not as_json:  # on stderr: KEY=$(billvend api-keys create ...) prints the secret alone
        print_blocks(
            Line(
                f"Created the key {created.key.name} ({_scopes(created.key)}). Id: {created.key.key_id}", GOOD
            ),
            Line("Send it as `Authorization: Bearer`. It is shown only once.", DOUBT),
            to=sys.stderr,
        )
    return Exit.DONE


@api_keys.command("list", epilog=example("billvend api-keys list"))
def list_keys(as_json: Json = False, database_url: DatabaseUrl = None) -> Exit:
    """List all keys, including revoked ones."""
    from billvend.presentation import api_key_json, iso_time

    with billvend_context(database_url) as bv:
        all_keys = bv.api_keys()
    rows = [
        (
            key.key_id,
            key.name,
            _scopes(key),
            iso_time(key.created_at) or "",
            iso_time(key.last_used_at) or "never",
            iso_time(key.revoked_at) or "",
        )
        for key in all_keys
    ]
    table = Table(("Id", "Name", "Scopes", "Created", "Last used", "Revoked"), rows)
    empty_line = Line(
        "No API keys yet: only requests from this machine are accepted, with test money.", QUIET
    )
    print_result(
        as_json, {"items": [api_key_json(key) for key in all_keys]}, table if all_keys else empty_line
    )
    return Exit.DONE


@api_keys.command(epilog=example("billvend api-keys revoke till-7"))
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its id or its name.")],
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Revoke a key. It is rejected from the next request on."""
    from billvend.presentation import api_key_json

    with billvend_context(database_url) as bv:
        revoked = bv.revoke_api_key(key)
    print_result(as_json, api_key_json(revoked), Line(f"Revoked the key {revoked.name}.", GOOD))
    return Exit.DONE


def _scopes(key: "ApiKey") -> str:
    return ", ".join(sorted(key.scopes))
