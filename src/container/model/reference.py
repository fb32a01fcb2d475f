"""Image references `[domain/]path[:tag][@digest]` (contract 1.10). Strings in, strings out: cheap to import."""

import re

from container.errors import ContainerError, invalid_argument

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
UNTAGGED = "untagged"  # `untagged@sha256:…` names an image that came without a name
MAX_LENGTH = 384
MAX_NAME_LENGTH = 255

_HUB = ("docker.io", "registry-1.docker.io")
_PATH = re.compile(r"(?:[a-z0-9]+(?:(?:[._]|__|-+|/)[a-z0-9]+)*)")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HEX = re.compile(r"[0-9a-f]{64}")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?")


class Reference:
    """The parts of a reference; a part that is not there is None."""

    __slots__ = ("digest", "domain", "path", "tag")

    def __init__(self, domain: str | None, path: str, tag: str | None = None, digest: str | None = None) -> None:
        self.domain = domain
        self.path = path
        self.tag = tag
        self.digest = digest

    @property
    def name(self) -> str:
        """Domain and path."""
        return f"{self.domain}/{self.path}" if self.domain else self.path

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


def parse(text: str) -> Reference:
    """The parts of `text` as written. Raises ContainerError(invalidArgument) with the contract's texts."""
    if not text or len(text) > MAX_LENGTH:
        raise _bad_format(text)
    if _HEX.fullmatch(text):
        raise invalid_argument(
            f"cannot specify 64 byte hex string as reference: {text}; "
            "use the image's name, which `container image list` shows"
        )
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _bad_format(text)
    domain, rest = _split_domain(rest)
    path, colon, tag = rest.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise _bad_format(text)
    if domain is not None and not _DOMAIN.fullmatch(domain):
        raise _bad_format(text)
    if not _PATH.fullmatch(path):
        raise invalid_argument(
            f"cannot parse path for reference {text}; a name has lower-case letters, digits, `.`, `_`, `-` and `/`"
        )
    reference = Reference(domain, path, tag or None, digest or None)
    if len(reference.name) > MAX_NAME_LENGTH:
        raise _bad_format(text)
    return reference


def normalise(text: str, domain: str = DEFAULT_DOMAIN) -> str:
    """The full reference for one as typed; `domain` is the configured `registry.domain`. Raises as `parse`."""
    reference = parse(text)
    reference.domain = reference.domain or domain
    if reference.domain in _HUB and "/" not in reference.path:
        reference.path = f"library/{reference.path}"
    if reference.digest:
        reference.tag = None
    elif not reference.tag:
        reference.tag = DEFAULT_TAG
    return str(reference)


def name_and_tag(text: str, domain: str = DEFAULT_DOMAIN) -> tuple[str, str | None]:
    """The shown name and tag of a full reference: default domain and `library/` cut; a digest is not shown."""
    try:
        reference = parse(text)
    except ContainerError:
        return text, None
    return _short_name(reference, domain), reference.tag


def denormalise(text: str, domain: str = DEFAULT_DOMAIN) -> str:
    """The short form of a full reference: `docker.io/library/alpine:3.22` → `alpine:3.22`."""
    try:
        reference = parse(text)
    except ContainerError:
        return text
    return str(Reference(None, _short_name(reference, domain), reference.tag, reference.digest))


def untagged(digest: str) -> str:
    """The name of an image that has none; plain `prune` removes it."""
    return f"{UNTAGGED}@{digest}"


def _short_name(reference: Reference, domain: str) -> str:
    if reference.domain != domain:
        return reference.name
    path = reference.path
    if domain in _HUB and path.count("/") == 1:
        path = path.removeprefix("library/")
    return path


def _split_domain(text: str) -> tuple[str | None, str]:
    head, slash, rest = text.partition("/")
    if slash and (head.startswith("localhost") or "." in head or ":" in head):
        return head, rest
    return None, text


def _bad_format(text: str) -> ContainerError:
    return invalid_argument(
        f"invalid format for image reference: {text}; expected [host[:port]/]name[:tag][@sha256:digest]"
    )
