"""Wire: what the AWS-shaped server hears and answers; errors in the shape that each service gives them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

JSON = "application/x-amz-json-1.1"
XML = "application/xml"
ACCOUNT = "123456789012"
REGION = "us-east-1"

Document = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """One request. `service` is boto3's name; header names are in small letters; `document` is a JSON body, parsed."""

    service: str
    operation: str
    method: str = "POST"
    path: str = "/"
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    document: Document = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What is sent back. `length` stands in for the size of the body where there is none (HEAD)."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None


class Refusal(Exception):
    """The service says no: AWS's code, its status and a text."""

    def __init__(self, code: str, text: str, status: int = 400) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text
        self.status = status


def as_json(document: Mapping[str, Any]) -> Answer:
    """Return a document as the JSON services send it."""
    return Answer(200, json.dumps(document).encode(), {"Content-Type": JSON})


def as_xml(text: str) -> Answer:
    """Return an XML document."""
    return Answer(200, b'<?xml version="1.0" encoding="UTF-8"?>\n' + text.encode(), {"Content-Type": XML})


def element(name: str, value: object) -> str:
    """Return `<name>value</name>`; a bool in XML's words."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"<{name}>{escape(text)}</{name}>"


def refused(service: str, refusal: Refusal, *, head: bool = False) -> Answer:
    """Return a refusal in the shape of *service*; an answer to HEAD has no body, so botocore sees the status alone."""
    number = str(uuid.uuid4())
    if service == "s3":
        inner = element("Code", refusal.code) + element("Message", refusal.text) + element("RequestId", number)
        body = b"" if head else as_xml(f"<Error>{inner}</Error>").body
        return Answer(refusal.status, body, {"Content-Type": XML, "x-amz-request-id": number})
    if service in ("sts", "sns"):
        inner = element("Type", "Sender") + element("Code", refusal.code) + element("Message", refusal.text)
        text = f"<ErrorResponse><Error>{inner}</Error>{element('RequestId', number)}</ErrorResponse>"
        return Answer(refusal.status, as_xml(text).body, {"Content-Type": "text/xml", "x-amzn-RequestId": number})
    body = json.dumps({"__type": refusal.code, "message": refusal.text}).encode()
    headers = {"Content-Type": JSON, "x-amzn-ErrorType": refusal.code, "x-amzn-RequestId": number}
    return Answer(refusal.status, body, headers)
