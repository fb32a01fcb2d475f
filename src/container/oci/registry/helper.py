"""docker-credential-* programs: get, store, erase and list, JSON on standard streams (docker-credential-helpers)."""

import asyncio
import json
from typing import Any

from container.errors import ContainerError, ErrorCode, internal, os_reason

DEADLINE = 20.0  # seconds; a helper may ask the user's keyring
_MAX_OUTPUT = 1 << 20
_NOT_FOUND = "credentials not found"


async def get(name: str, server: str, deadline: float = DEADLINE) -> tuple[str, str] | None:
    """(username, secret) that helper `name` keeps for a server, None when it keeps none. Raises ContainerError."""
    answer = await _run(name, "get", server.encode(), deadline)
    if answer is None:
        return None
    document = _parsed(name, answer)
    username, secret = document.get("Username"), document.get("Secret")
    if not isinstance(username, str) or not isinstance(secret, str):
        raise _bad_answer(name)
    return username, secret


async def store(name: str, server: str, username: str, secret: str, deadline: float = DEADLINE) -> None:
    """Have a helper keep a credential. Raises ContainerError."""
    document = {"ServerURL": server, "Username": username, "Secret": secret}
    await _run(name, "store", json.dumps(document).encode(), deadline)


async def erase(name: str, server: str, deadline: float = DEADLINE) -> None:
    """Have a helper forget a server; no error when it keeps nothing for it. Raises ContainerError."""
    await _run(name, "erase", server.encode(), deadline)


async def entries(name: str, deadline: float = DEADLINE) -> dict[str, str]:
    """Username by server of all that a helper keeps. Raises ContainerError."""
    answer = await _run(name, "list", b"", deadline)
    document = _parsed(name, answer or b"{}")
    return {str(server): str(username) for server, username in document.items()}


async def _run(name: str, verb: str, request: bytes, deadline: float) -> bytes | None:
    """What the helper prints; None when it says that it has no such credential."""
    program = f"docker-credential-{name}"
    if "/" in name or name.startswith("."):
        raise internal(f"the credential helper '{name}' has a malformed name")
    try:
        process = await asyncio.create_subprocess_exec(
            program, verb, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError as error:
        raise ContainerError(
            ErrorCode.UNSUPPORTED, f"the credential helper {program} is not there: install it, or log in anew"
        ) from error
    except OSError as error:
        raise internal(f"cannot start the credential helper {program}: {os_reason(error)}") from error
    try:
        async with asyncio.timeout(deadline):
            output, errors = await process.communicate(request)
    except TimeoutError as error:
        raise ContainerError(
            ErrorCode.TIMEOUT, f"the credential helper {program} did not answer {verb} within {deadline:g} seconds"
        ) from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        text = (output or errors).decode(errors="replace").strip()[:400]
        if _NOT_FOUND in text.lower():
            return None
        raise internal(f"the credential helper {program} failed to {verb}: {text}")
    return output[:_MAX_OUTPUT]


def _parsed(name: str, answer: bytes) -> dict[str, Any]:
    try:
        document = json.loads(answer)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise _bad_answer(name)
    return document


def _bad_answer(name: str) -> ContainerError:
    return internal(f"the credential helper docker-credential-{name} answered with something that is no credential")
