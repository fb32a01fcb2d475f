"""A small registry over HTTP on loopback that misbehaves on request: `FakeRegistry.fail` says how, for which requests.

with FakeRegistry() as registry:
    registry.add("app", "1", image)
    registry.fail(r"GET /v2/app/blobs/", cut(1000), times=1)
"""

import base64
import contextlib
import hashlib
import json
import re
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from support.ociarchive import ImageFiles, digest

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
USER, PASSWORD = "ann", "s3cret pass"

Action = Callable[["Handler"], bool]  # returns whether it has dealt with the request


@dataclass
class Fault:
    """Do `action` with the next `times` requests whose `METHOD path` matches."""

    pattern: str
    action: Action
    times: int


@dataclass
class Seen:
    """A request that came in."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class FakeRegistry:
    """Blobs by repository, manifests by repository and reference; `auth` is None, `basic` or `bearer`."""

    auth: str | None = None
    lifetime: float = 300.0
    challenge: str | None = None
    ranges: bool = True
    blobs: dict[str, dict[str, bytes]] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    sessions: int = 0
    tokens: dict[str, float] = field(default_factory=dict)
    pace: float = 0.0  # seconds between pieces of a blob

    def __enter__(self) -> Self:
        self.server = _Server(("127.0.0.1", 0), type("Bound", (Handler,), {"registry": self}))
        self.server.daemon_threads = True
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()

    def add(self, repository: str, tag: str, *images: ImageFiles) -> str:
        """Serve an image, an index when there are several platforms; returns its reference."""
        descriptors = [image.manifest() for image in images]
        blobs: dict[str, bytes] = {}
        for image in images:
            blobs |= image.blobs
        for descriptor in descriptors:
            data = blobs[descriptor["digest"]]
            self.manifests[repository, descriptor["digest"]] = (descriptor["mediaType"], data)
            self.manifests[repository, tag] = (descriptor["mediaType"], data)
        if len(images) > 1:
            data = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": descriptors}).encode()
            self.manifests[repository, tag] = self.manifests[repository, digest(data)] = (INDEX, data)
        self.blobs.setdefault(repository, {}).update(blobs)
        return f"{self.host}/{repository}:{tag}"

    def fail(self, pattern: str, action: Action, times: int = 1) -> None:
        """Misbehave."""
        self.faults.append(Fault(pattern, action, times))

    def count(self, pattern: str) -> int:
        """How many requests matched `METHOD path`."""
        return sum(1 for item in self.seen if re.search(pattern, f"{item.method} {item.path}"))

    def requests(self, pattern: str) -> list[Seen]:
        """The requests that matched `METHOD path`."""
        return [item for item in self.seen if re.search(pattern, f"{item.method} {item.path}")]


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # a client whose connection finds no place waits for a second


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    registry: FakeRegistry

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""

    def handle(self) -> None:
        """Serve, until the client goes away."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            super().handle()

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer as a whole."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def dispatch(self) -> None:
        """Any request."""
        registry = self.registry
        parts = urlsplit(self.path)
        self.where, self.query = parts.path, parse_qs(parts.query)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        registry.seen.append(Seen(self.command, self.path, dict(self.headers.items())))
        for fault in registry.faults:
            if fault.times and re.search(fault.pattern, f"{self.command} {self.where}"):
                fault.times -= 1
                if fault.action(self):
                    return
                fault.times += 1
        if self.where == "/token":
            self._token()
        elif not self._is_authorised():
            self._refuse()
        elif self.where == "/v2/":
            self.reply(200, b"{}")
        else:
            self._content()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = dispatch

    def send_blob(self, data: bytes) -> None:
        """A blob, from where the client wants it."""
        start = 0
        match = re.fullmatch(r"bytes=([0-9]+)-", self.headers.get("Range", ""))
        if match and self.registry.ranges:
            start = int(match.group(1))
            if start >= len(data):
                return self.reply(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if self.command != "HEAD":
            for at in range(start, len(data), 1 << 16):
                self.wfile.write(data[at : at + (1 << 16)])
                if self.registry.pace:
                    time.sleep(self.registry.pace)

    def blob_data(self) -> bytes:
        """The blob that is asked for."""
        _, repository, _, reference = _split(self.where)
        return self.registry.blobs[repository][reference]

    def hang_up(self) -> None:
        """Break the connection with a reset."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _content(self) -> None:
        registry = self.registry
        _, repository, kind, reference = _split(self.where)
        blobs = registry.blobs.setdefault(repository, {})
        if kind == "manifests" and self.command == "PUT":
            name = f"sha256:{hashlib.sha256(self.body).hexdigest()}"
            media_type = self.headers["Content-Type"]
            for key in (reference, name):
                registry.manifests[repository, key] = (media_type, self.body)
            self.reply(201, Docker_Content_Digest=name)
        elif kind == "manifests" and (repository, reference) in registry.manifests:
            media_type, data = registry.manifests[repository, reference]
            self.reply(200, data, Content_Type=media_type)
        elif kind == "blobs" and reference.startswith("uploads"):
            self._upload(repository, reference.partition("/")[2], blobs)
        elif kind == "blobs" and reference in blobs:
            self.send_blob(blobs[reference])
        else:
            self.reply(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}')

    def _upload(self, repository: str, session: str, blobs: dict[str, bytes]) -> None:
        registry = self.registry
        location = f"/v2/{repository}/blobs/uploads/"
        if self.command == "POST":
            mount, origin = self.query.get("mount", [""])[0], self.query.get("from", [""])[0]
            if mount in registry.blobs.get(origin, {}):
                blobs[mount] = registry.blobs[origin][mount]
                return self.reply(201)
            registry.sessions += 1
            session = str(registry.sessions)
            registry.uploads[session] = b""
            return self.reply(202, Location=location + session)
        if session not in registry.uploads:
            return self.reply(404)
        if self.command == "PATCH":
            registry.uploads[session] += self.body
        if self.command == "PUT":
            data = registry.uploads.pop(session) + self.body
            if digest(data) != self.query["digest"][0]:
                return self.reply(400, b'{"errors":[{"code":"DIGEST_INVALID","message":"digest invalid"}]}')
            blobs[digest(data)] = data
            return self.reply(201)
        if self.command == "DELETE":
            del registry.uploads[session]
        size = len(registry.uploads.get(session, b""))
        return self.reply(202 if self.command == "PATCH" else 204, Location=location + session, Range=f"0-{size - 1}")

    def _is_authorised(self) -> bool:
        header = self.headers.get("Authorization", "")
        if self.registry.auth == "basic":
            return header == f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
        if self.registry.auth == "bearer":
            return self.registry.tokens.get(header.removeprefix("Bearer "), 0) > time.monotonic()
        return True

    def _refuse(self) -> None:
        registry = self.registry
        default = (
            'Basic realm="x"'
            if registry.auth == "basic"
            else f'Bearer realm="http://{registry.host}/token",service="fake",scope="repository:x:pull"'
        )
        body = b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'
        self.reply(401, body, WWW_Authenticate=default if registry.challenge is None else registry.challenge)

    def _token(self) -> None:
        header = self.headers.get("Authorization", "")
        if header and header != f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}":
            return self.reply(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"wrong password"}]}')
        token = f"t{len(self.registry.tokens)}"
        self.registry.tokens[token] = time.monotonic() + self.registry.lifetime
        return self.reply(200, json.dumps({"token": token, "expires_in": 300}).encode())


def status(code: int, body: bytes = b"", **headers: str) -> Action:
    """Answer with a status."""

    def act(handler: Handler) -> bool:
        handler.reply(code, body, **headers)
        return True

    return act


def cut(count: int) -> Action:
    """Send `count` bytes of the blob from where it is wanted, then reset the connection."""

    def act(handler: Handler) -> bool:
        data = handler.blob_data()
        start = int((re.findall(r"[0-9]+", handler.headers.get("Range", "0")) or ["0"])[0])
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.send_header("Content-Length", str(len(data) - start))
        handler.end_headers()
        handler.wfile.write(data[start : start + count])
        handler.hang_up()
        return True

    return act


def trickle(until: threading.Event, count: int) -> Action:
    """Send `count` bytes of the blob, then only a few now and then `until` that is set, then the rest."""

    def act(handler: Handler) -> bool:
        data, at = handler.blob_data(), count
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[:at])
        while at < len(data) and not until.wait(0.05):
            handler.wfile.write(data[at : at + 1])
            at += 1
        handler.wfile.write(data[at:])
        return True

    return act


def hang(count: int = 0) -> Action:
    """Send `count` bytes of the blob, then nothing until the client has had enough."""

    def act(handler: Handler) -> bool:
        data = handler.blob_data()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[:count])
        handler.wfile.flush()
        select.select([handler.connection], [], [], 60)  # readable when it hangs up
        handler.hang_up()
        return True

    return act


def body(change: Callable[[bytes], bytes]) -> Action:
    """Send the blob changed, with the length that it has then."""

    def act(handler: Handler) -> bool:
        handler.reply(200, change(handler.blob_data()))
        return True

    return act


def _split(path: str) -> tuple[str, str, str, str]:
    """`/v2/<repository>/<kind>/<reference>`."""
    match = re.fullmatch(r"(/v2/)(.+)/(manifests|blobs)/(.*)", path)
    return match.groups() if match else ("", "", "", "")  # type: ignore[return-value]
