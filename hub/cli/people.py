"""Users and API tokens of the pages, at the hub's console."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from hub.cli.common import become_owner, config_option, json_option, print_json, settings_of, table, utc


@contextmanager
def accounts_of(config: Path | None, action: str, target: str) -> Iterator[Any]:
    """The accounts; what was done at the console is audited like what was done on a page."""
    from hub.web.accounts import Accounts, Refused

    settings = settings_of(config)
    become_owner(settings.hub.data_dir)
    accounts = Accounts(settings.web_db)
    try:
        yield accounts
    except Refused as error:
        accounts.db.audit(accounts.now_us(), "console", "", action, target, str(error), "refused")
        raise click.ClickException(str(error)) from None
    else:
        if action:
            accounts.db.audit(accounts.now_us(), "console", "", action, target, "", "done")
    finally:
        accounts.close()


def _password(password_file: Path | None) -> str:
    if password_file is not None:
        try:
            return password_file.read_text(encoding="utf-8").rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise click.ClickException(f"{password_file}: {error}") from None
    answer: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return answer


password_option = click.option("--password-file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=False),
                               help="read the password from this file instead of asking")


@click.group()
def user() -> None:
    """Who may log in."""


@user.command("list")
@config_option
@json_option
def list_users(config: Path | None, as_json: bool) -> None:
    """All users and their roles."""
    with accounts_of(config, "", "") as accounts:
        rows = [{"name": one.name, "role": one.role, "made_us": one.made_us} for one in accounts.db.users()]
    if as_json:
        print_json(rows)
    else:
        table(("name", "role", "made"), ((row["name"], row["role"], utc(row["made_us"])) for row in rows))


@user.command("first-code")
@config_option
@json_option
def first_code(config: Path | None, as_json: bool) -> None:
    """Print a one-time code that makes the first admin; nothing when there is a user already."""
    with accounts_of(config, "", "") as accounts:
        code = accounts.first_code()
    if as_json:
        print_json({"code": code})
    elif code is not None:
        click.echo(f"One-time code for the first admin (good for 24 h): {code}")


@user.command("add")
@config_option
@password_option
@click.option("--role", type=click.Choice(["viewer", "operator", "admin"]), default="viewer", show_default=True)
@click.argument("name")
def add_user(config: Path | None, password_file: Path | None, role: str, name: str) -> None:
    """Make the user NAME."""
    with accounts_of(config, "user add", name) as accounts:
        accounts.add_user(name, role, _password(password_file))
    click.echo(f"{name} may log in as {role}")


@user.command("password")
@config_option
@password_option
@click.argument("name")
def password(config: Path | None, password_file: Path | None, name: str) -> None:
    """Give NAME a new password and end the sessions of NAME."""
    with accounts_of(config, "user password", name) as accounts:
        accounts.set_password(name, _password(password_file))
    click.echo(f"{name} has a new password")


@user.command("role")
@config_option
@click.argument("name")
@click.argument("role", type=click.Choice(["viewer", "operator", "admin"]))
def set_role(config: Path | None, name: str, role: str) -> None:
    """Make NAME a viewer, operator or admin."""
    with accounts_of(config, "user role", f"{name} {role}") as accounts:
        accounts.set_role(name, role)
    click.echo(f"{name} is {role}")


@user.command("remove")
@config_option
@click.argument("name")
def remove_user(config: Path | None, name: str) -> None:
    """Take NAME out, with all sessions and tokens."""
    with accounts_of(config, "user remove", name) as accounts:
        accounts.remove_user(name)
    click.echo(f"{name} is removed")


@click.group()
def token() -> None:
    """Tokens for programs that use the HTTP API."""


@token.command("list")
@config_option
@json_option
def list_tokens(config: Path | None, as_json: bool) -> None:
    """All tokens (never their secrets)."""
    with accounts_of(config, "", "") as accounts:
        rows = [{"id": one.id, "name": one.name, "scope": one.scope, "user": one.user, "expires_us": one.expires_us,
                 "used_us": one.used_us} for one in accounts.db.tokens()]
    if as_json:
        print_json(rows)
    else:
        table(("id", "name", "scope", "user", "expires", "last used"), (
            (row["id"], row["name"], row["scope"], row["user"], utc(row["expires_us"]), utc(row["used_us"]))
            for row in rows))


@token.command("make")
@config_option
@json_option
@click.option("--user", "owner", required=True, help="whose rights it has at most")
@click.option("--days", type=click.IntRange(1, 366), default=90, show_default=True)
@click.option("--scope", type=click.Choice(["read", "command"]), default="read", show_default=True,
              help="command: may also set what an operator may set")
@click.argument("name")
def make_token(config: Path | None, as_json: bool, owner: str, days: int, scope: str, name: str) -> None:
    """Make a token called NAME and print it: it is shown this once."""
    with accounts_of(config, "token make", name) as accounts:
        if accounts.db.user(owner) is None:
            raise click.ClickException(f"there is no user {owner}: hutkeeper-hub user list")
        secret = accounts.make_token(name, owner, days, scope)
    if as_json:
        print_json({"token": secret})
    else:
        click.echo(secret)


@token.command("end")
@config_option
@click.argument("token_id", type=int)
def end_token(config: Path | None, token_id: int) -> None:
    """Make the token with this id void."""
    with accounts_of(config, "token end", str(token_id)) as accounts:
        if not accounts.db.end_token(token_id):
            raise click.ClickException(f"there is no token {token_id}: hutkeeper-hub token list")
    click.echo(f"token {token_id} is void")
