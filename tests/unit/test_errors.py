"""What an error says to a user, and to those who debug."""

import errno
import os

from container.errors import ContainerError, ErrorCode, not_found, os_reason


def test_a_chain_is_one_sentence_and_its_codes_are_in_the_trace() -> None:
    error = ContainerError(ErrorCode.INTERNAL, "failed to stop container web", not_found("no web"))
    assert str(error) == error.describe() == "failed to stop container web: no web"
    assert error.trace() == 'failed to stop container web (cause: "notFound: "no web"")'


def test_what_the_cause_says_anyway_is_not_said_twice() -> None:
    cause = ContainerError(ErrorCode.INTERNAL, "cannot read /x: No such file or directory")
    assert ContainerError(ErrorCode.INTERNAL, "cannot read /x", cause).describe() == cause.message


def test_a_full_disk_says_how_to_free_space() -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert os_reason(full).startswith("No space left on device; free some: `container system df`")
    assert os_reason(OSError(errno.ENOENT, os.strerror(errno.ENOENT))) == "No such file or directory"
