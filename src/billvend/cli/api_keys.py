"""Commands for the keys of the HTTP API: api-keys create, list, revoke."""

import sys

import typer

from billvend.cli.blocks import Columns, Line, doubt, good
from billvend.cli.context import Session, command
from billvend.cli.exits import Exit
from billvend.cli.options import DATABASE_URL, JSON, argument, example, option
from billvend.cli.output import Output, listing, print_blocks, result

COLUMNS: Columns = {
    "Id": "keyId",
    "Name": "name",
    "Scopes": "scopes",
    "Created": "createdAt",
    "Last used": lambda key: key["lastUsedAt"] or "never",
    "Revoked": "revokedAt",
}

commands = typer.Typer()
api_keys = typer.Typer(
    epilog=example("billvend api-keys", "billvend api-keys create --scope pay --name till-7"),
    invoke_without_command=True,
)
commands.add_typer(api_keys, name="api-keys")


@api_keys.callback()
def manage(context: typer.Context, as_json: bool = JSON, database_url: str | None = DATABASE_URL) -> Exit:
    """Manage the keys of the HTTP API. Without a verb: list them."""
    if context.invoked_subcommand is None:
        return list_keys(as_json=as_json, database_url=database_url)
    if as_json or database_url is not None:
        raise typer.BadParameter("Give options after the verb.", context)
    return Exit.DONE


@command(
    api_keys,
    "billvend api-keys create --scope pay --name till-7",
    "billvend api-keys create --scope read --scope fund --name shop-front",
)
def create(
    session: Session,
    name: str = option("--name NAME: A name for the key, such as its user."),
    scope: list[str] = option("--scope SCOPE: read, pay, fund or operate. May be repeated."),
) -> Output | Exit:
    """Create a key, and show its secret once.

    Scopes do not include each other: reading needs `read`. From the first key on, requests without a key are rejected.
    """
    from billvend.presentation.operator_models import ApiKeyResponse

    created = session.bv.create_api_key(name, scope)
    key, document = created.key, ApiKeyResponse.model_validate(created.key).to_json()
    session.print(result({**document, "secret": created.secret}, Line(created.secret)))
    if not session.as_json:  # on stderr: KEY=$(billvend api-keys create ...) prints the secret alone
        scopes = ", ".join(sorted(key.scopes))
        print_blocks(
            good(f"Created the key {key.name} ({scopes}). Id: {key.key_id}"),
            doubt("Send it as `Authorization: Bearer`. It is shown only once."),
            to=sys.stderr,
        )
    return Exit.DONE


@command(api_keys, "billvend api-keys list", name="list")
def list_keys(session: Session) -> Output:
    """List all keys, including revoked ones."""
    from billvend.presentation.operator_models import ApiKeyResponse

    empty = "No API keys yet: only requests from this machine are accepted, with test money."
    return listing(ApiKeyResponse, session.bv.api_keys(), COLUMNS, empty=empty)


@command(api_keys, "billvend api-keys revoke till-7")
def revoke(session: Session, key: str = argument("KEY: Its id or its name.")) -> Output:
    """Revoke a key. It is rejected from the next request on."""
    from billvend.presentation.operator_models import ApiKeyResponse

    revoked = session.bv.revoke_api_key(key)
    return result(ApiKeyResponse.model_validate(revoked), good(f"Revoked the key {revoked.name}."))
