"""Commands for who gets in over HTTP: keys create, list, revoke."""

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
    help="Say who may use the API. From the first key on, nobody gets in without one.",
    epilog=example("billvend keys list"),
)
commands.add_typer(api_keys, name="keys")


@api_keys.command(
    epilog=example(
        "billvend keys create --scope pay --name till-7",
        "billvend keys create --scope read --scope fund --name shop-front",
    )
)
def create(
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What to call it, such as its user.")],
    scope: Annotated[
        list[str],
        typer.Option(
            "--scope", metavar="SCOPE", help="read, pay, fund or operate. May be given several times."
        ),
    ],
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Make a key, and show its secret once.

    No scope includes another: to look at anything a key needs `read`.
    """
    from billvend.presentation import api_key_json

    with billvend_context(database_url) as bv:
        created = bv.create_api_key(name, scope)
    print_result(as_json, {**api_key_json(created.key), "secret": created.secret}, Line(created.secret))
    if not as_json:  # on stderr: KEY=$(billvend keys create ...) is to be the secret alone
        print_blocks(
            Line(
                f"The key {created.key.name} is made: {_scopes(created.key)}. Id: {created.key.key_id}", GOOD
            ),
            Line("Send it as `Authorization: Bearer`. It is not shown again.", DOUBT),
            to=sys.stderr,
        )
    return Exit.DONE


@api_keys.command("list", epilog=example("billvend keys list"))
def list_keys(as_json: Json = False, database_url: DatabaseUrl = None) -> Exit:
    """List all keys, also revoked ones, and when they were used last."""
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
    table = Table(("Id", "Name", "Scopes", "Made", "Last used", "Revoked"), rows)
    empty_line = Line("There are no keys: the API serves test money only, to this machine alone.", QUIET)
    print_result(
        as_json, {"items": [api_key_json(key) for key in all_keys]}, table if all_keys else empty_line
    )
    return Exit.DONE


@api_keys.command(epilog=example("billvend keys revoke till-7"))
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its id or its name.")],
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Let a key open nothing any more, from the next request on."""
    from billvend.presentation import api_key_json

    with billvend_context(database_url) as bv:
        revoked = bv.revoke_api_key(key)
    print_result(
        as_json, api_key_json(revoked), Line(f"The key {revoked.name} opens nothing any more.", GOOD)
    )
    return Exit.DONE


def _scopes(key: "ApiKey") -> str:
    return ", ".join(sorted(key.scopes))
