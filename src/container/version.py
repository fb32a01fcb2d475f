"""What this build calls itself."""

VERSION = "0.1.0"
BUILD = "release"
COMMIT = "unspecified"


def version_line(program: str) -> str:
    """`<program> version 0.1.0 (build: release, commit: unspecified)`."""
    return f"{program} version {VERSION} (build: {BUILD}, commit: {COMMIT})"
