"""A Parameter Store and a Secrets Manager that let in one kind of credentials, and note whose they were."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_CREDENTIAL = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/[^/]+/(ssm|secretsmanager)/aws4_request,")


@dataclass
class Vault:
    """Whose access key begins with `opens` gets the `values`; `asked` has operation, access key and session token."""

    address: str = ""
    opens: str = "ASIA"
    values: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What makes SDKs ask here."""
        return {"AWS_ENDPOINT_URL_SSM": self.address, "AWS_ENDPOINT_URL_SECRETS_MANAGER": self.address}

    def answer(self, operation: str, authorization: str, token: str, said: dict[str, Any]) -> tuple[int, Any]:
        """Return status and document for one request."""
        found = _CREDENTIAL.match(authorization)
        if found is None:
            return 400, {"__type": "IncompleteSignatureException", "message": authorization[:60]}
        self.asked.append((operation, found[1], token))
        if not found[1].startswith(self.opens):
            return 400, {"__type": "AccessDeniedException", "message": f"{found[1]} may not call {operation}"}
        if operation == "AmazonSSM.GetParameters":
            known = [name for name in said["Names"] if name in self.values]
            parameters = [
                {"Name": name, "Type": "SecureString", "Value": self.values[name], "Version": 1} for name in known
            ]
            return 200, {"Parameters": parameters, "InvalidParameters": sorted({*said["Names"]} - {*known})}
        if operation == "secretsmanager.GetSecretValue" and said["SecretId"] in self.values:
            return 200, {"Name": said["SecretId"], "SecretString": self.values[said["SecretId"]]}
        return 400, {"__type": "ResourceNotFoundException", "message": str(said)}


@contextmanager
def vault_service() -> Iterator[Vault]:
    """Run one on a free port of the loopback."""
    vault = Vault()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            head = [self.headers.get(name, "") for name in ("X-Amz-Target", "Authorization", "X-Amz-Security-Token")]
            status, document = vault.answer(head[0], head[1], head[2], said)
            text = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    vault.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield vault
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
