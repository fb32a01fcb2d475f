"""`container registry login [-u USER] [--password P | --password-stdin] [--scheme S] SERVER`."""

from __future__ import annotations

import contextlib
import os
import sys

from container.cli import client, failures, logger, output
from container.cli.options import fetch
from container.cli.spec import Argument, Command, Option, Values, flag
from container.cli.usage import UsageError
from container.errors import internal, invalid_argument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT = 120.0  # seconds: a slow registry is asked several times


def run(values: Values) -> int:
    """Ask for what is missing, have the registry accept it, store it."""
    fetch.check_scheme(values)
    if values.password_stdin and values.username is None:
        raise invalid_argument("cannot log in: must provide --username with --password-stdin")
    if values.password is not None and values.password_stdin:
        raise UsageError("--password and --password-stdin exclude each other")
    username = _username(values.server) if values.username is None else values.username
    password = _given(values.password) if values.password is not None else _asked(values)
    call = {"server": values.server, "username": username, "password": password, "scheme": values.scheme}
    with failures.Attempt(f"failed to log in to {values.server}"):
        client.call("Images.Login", call, timeout=TIMEOUT)
    output.error_line("Login succeeded")
    return 0


def _given(password: str) -> str:
    """The value of `--password`, with a warning: other users of this machine can see it."""
    if not password:
        raise invalid_argument("the password is empty")
    logger.warning("--password shows the password to everyone who lists the processes: use --password-stdin")
    return password


def _asked(values: Values) -> str:
    return _password_from_stdin() if values.password_stdin else _password()


def _username(server: str) -> str:
    output.write(f"Provide registry username {server}: ")
    text = sys.stdin.readline().strip() if sys.stdin else ""
    if not text:
        raise invalid_argument("cannot log in: failed to read the username: it is empty; give it with --username")
    return text


def _password() -> str:
    """A line from standard input, without echo when that is a terminal."""
    with _silence() if os.isatty(0) else contextlib.nullcontext():
        output.write("Provide registry password: ")
        text = (sys.stdin.readline() if sys.stdin else "").rstrip("\r\n")
    if not text:
        raise invalid_argument("cannot log in: failed to read the password: it is empty")
    return text


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """No echo, from before the prompt on: whoever types ahead is not seen either."""
    import termios

    saved = termios.tcgetattr(0)
    silent = [*saved[:3], saved[3] & ~termios.ECHO, *saved[4:]]
    try:
        termios.tcsetattr(0, termios.TCSAFLUSH, silent)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, saved)
        output.write("\n")  # the one that was typed was not echoed


def _password_from_stdin() -> str:
    try:
        text = sys.stdin.buffer.read().decode().rstrip("\r\n") if sys.stdin else ""
    except ValueError as error:
        raise internal("cannot log in: failed to read password from stdin") from error
    if not text:
        raise internal("cannot log in: failed to read password from stdin")
    return text


COMMAND = Command(
    "Log in to a registry",
    run,
    options=[
        Option("username", "-u, --username", "Name of the account; asked for if not given", value="username"),
        Option(
            "password",
            "-p, --password",
            "The password, seen by all who list the processes",
            value="password",
            hidden=True,
        ),
        flag("password_stdin", "--password-stdin", "Read the password from standard input"),
        fetch.SCHEME,
    ],
    arguments=[Argument("server", "server", "The registry, host[:port]")],
)
