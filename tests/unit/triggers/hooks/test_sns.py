"""Deliveries of Amazon SNS: only what SNS signed, from a topic that may, stored before the answer."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from agent.errors import BuildspecdError, GitUnavailable, RequestInvalid, SourceRefused, Unavailable
from agent.kit.service import StopToken
from agent.model.secret import Secret
from agent.source.connections import Connections
from agent.store.hooks import Hooks
from agent.triggers.events import GitPush, Happening
from agent.triggers.hooks import certificates, sns
from agent.triggers.hooks.backlog import Backlog
from agent.triggers.hooks.certificates import KEPT_SECONDS, Certificates, fetch_through, key_of, parsed
from agent.triggers.hooks.secrets import SecretBook
from agent.triggers.hooks.topics import OLDEST_SECONDS, PLACE, Topics, confirm_through
from tests.fakes.github import private_key
from tests.fakes.sns import CERTIFICATE_URL, HOST, TOPIC, Sns, certificate, elliptic_key
from tests.unit.store.samples import NOON, ManualClock, a_database
from tests.unit.triggers.hooks.test_judge import Known

PUSH = {
    "version": "0",
    "source": "aws.codecommit",
    "detail-type": "CodeCommit Repository State Change",
    "region": "eu-central-1",
    "detail": {
        "event": "referenceCreated",
        "repositoryName": "web",
        "referenceFullName": "refs/heads/main",
        "commitId": "a" * 40,
    },
}
HAPPENED = GitPush("eu-central-1", "web", "refs/heads/main", None, "a" * 40)
PEM = certificate(NOON)


class Office:
    """What takes deliveries in, with what stands around it."""

    def __init__(self, directory: Path) -> None:
        self.clock = ManualClock()
        self.sns = Sns(self.clock.now())
        self.hooks = Hooks(a_database(directory))
        self.pem: bytes | BuildspecdError = PEM
        self.fetched: list[str] = []
        self.told: list[Happening] = []
        self.confirmed: list[str] = []
        self.trouble: BuildspecdError | None = None
        self.allowed: tuple[str, ...] = (TOPIC,)
        self.topics = Topics(
            lambda: self.allowed,
            Certificates(self._fetch, self.clock, patience=60),
            self.hooks,
            self.clock,
            self._take,
            self.confirmed.append,
        )
        self.backlog = Backlog(
            self.hooks,
            lambda _: None,
            lambda _: pytest.fail("SNS tells of no webhook"),
            Known(),
            SecretBook(lambda _: Secret(""), self.clock),
            list,
            self.clock,
            errands={PLACE: self.topics.settle},
        )

    def _fetch(self, address: str) -> bytes:
        self.fetched.append(address)
        if isinstance(self.pem, BuildspecdError):
            raise self.pem
        return self.pem

    def _take(self, happening: Happening, _: StopToken) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.told.append(happening)

    def deliver(self, body: bytes, **headers: str) -> int:
        given = self.sns.headers | {name.replace("_", "-"): text for name, text in headers.items()}
        return self.topics.receive(given, body)[0]

    def settle(self) -> None:
        for pending in self.hooks.due(self.clock.now()):
            self.backlog.settle(pending)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", [{}, {"Subject": 'Ünd\n"so"'}])
def test_what_sns_signed_is_stored_and_then_taken(office: Office, version: str, subject: dict[str, str]) -> None:
    assert office.deliver(office.sns.notification(PUSH, version, **subject)) == 200
    assert (office.told, office.hooks.backlog()) == ([], 1)
    office.settle()
    assert (office.told, office.hooks.backlog()) == ([HAPPENED], 0)


def test_a_message_that_comes_again_is_taken_once_and_its_certificate_is_fetched_once(office: Office) -> None:
    body = office.sns.notification(PUSH)
    answers = [office.topics.receive({}, body)[1]["result"] for _ in range(3)]
    assert answers == ["taken", "ignored", "ignored"]
    assert office.deliver(office.sns.notification(PUSH)) == 200
    office.settle()
    assert office.told == [HAPPENED, HAPPENED]
    assert office.fetched == [CERTIFICATE_URL]


def test_what_cannot_be_done_now_is_done_later(office: Office) -> None:
    office.trouble = GitUnavailable("the server is down")
    office.deliver(office.sns.notification(PUSH))
    office.settle()
    assert (office.told, office.hooks.backlog()) == ([], 1)
    office.trouble = None
    office.clock.at += 60
    office.settle()
    assert (office.told, office.hooks.backlog()) == ([HAPPENED], 0)


def changed(body: bytes, **members: Any) -> bytes:
    document = {**json.loads(body), **members}
    return json.dumps({name: value for name, value in document.items() if value is not None}).encode()


@pytest.mark.parametrize(
    "change",
    [
        {"Message": json.dumps({**PUSH, "region": "eu-west-1"})},
        {"MessageId": "another"},
        {"Timestamp": "2026-01-01T12:00:01.000Z"},
        {"Subject": "added"},
        {"SignatureVersion": "2"},
        {"SignatureVersion": "3"},
        {"Signature": "QUJD"},
        {"Type": "UnsubscribeConfirmation", "Token": "t", "SubscribeURL": f"https://{HOST}/"},
    ],
)
def test_whoever_changes_a_signed_message_is_refused(office: Office, change: dict[str, str]) -> None:
    body = office.sns.notification(PUSH)
    if "Timestamp" in change:
        change = {"Timestamp": json.loads(body)["Timestamp"].replace(".000Z", ".001Z")}
    assert office.deliver(changed(body, **change)) == 401
    assert office.hooks.backlog() == 0
    assert office.deliver(body) == 200


@pytest.mark.parametrize("absent", ["Type", "MessageId", "TopicArn", "Message", "Timestamp", "Signature",
                                    "SigningCertURL", "SignatureVersion"])  # fmt: skip
def test_a_member_that_is_missing_is_named(office: Office, absent: str) -> None:
    with pytest.raises(RequestInvalid, match=f"payload's {absent} "):
        office.deliver(changed(office.sns.notification(PUSH), **{absent: None}))


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"{" * 5000, b'{"Type": 7}', b" " * (2 << 20)]
)
def test_what_is_no_message_is_refused_in_words(office: Office, body: bytes) -> None:
    with pytest.raises(RequestInvalid):
        office.deliver(body)


def test_only_a_topic_that_was_allowed_delivers_and_nobody_without_one(office: Office) -> None:
    stranger = Sns(NOON, topic=f"{TOPIC}-too")
    assert office.deliver(stranger.notification(PUSH)) == 403
    office.allowed = ()
    status, answer = office.topics.receive({}, office.sns.notification(PUSH))
    assert (status, "webhooks.sns_topics" in answer["hint"]) == (403, True)
    assert office.fetched == []


def test_a_message_of_yesterday_or_tomorrow_and_a_raw_one_are_refused(office: Office) -> None:
    body = office.sns.notification(PUSH)
    office.clock.at += OLDEST_SECONDS + 1
    assert office.deliver(body) == 403
    office.clock.at = NOON - 3600
    assert office.deliver(body) == 403
    office.clock.at = NOON
    assert office.deliver(json.dumps(PUSH).encode(), x_amz_sns_rawdelivery="true") == 403
    assert office.fetched == []


PEM_PATH = "/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem"


@pytest.mark.parametrize(
    "address",
    [
        f"http://{HOST}{PEM_PATH}",
        f"HTTPS://{HOST}{PEM_PATH}",
        f"https://{HOST}:8443{PEM_PATH}",
        f"https://{HOST}:443@evil.example{PEM_PATH}",
        f"https://{HOST}@evil.example{PEM_PATH}",
        f"https://user:word@{HOST}{PEM_PATH}",
        f"https://{HOST}.evil.example{PEM_PATH}",
        f"https://{HOST}.cn{PEM_PATH}",
        f"https://{HOST}.{PEM_PATH}",
        f"https://evil{HOST}{PEM_PATH}",
        f"https://evil.example/{HOST}{PEM_PATH}",
        f"https://evil.example\\@{HOST}{PEM_PATH}",
        f"https://evil.example#@{HOST}{PEM_PATH}",
        f"https://evil.example?@{HOST}{PEM_PATH}",
        f"https://sns.eu-west-1.amazonaws.com{PEM_PATH}",
        f"https://sns.amazonaws.com{PEM_PATH}",
        f"https://sns-eu-central-1.s3.amazonaws.com{PEM_PATH}",
        f"https://sns.eu-central-1.amazonaws.com%2eevil.example{PEM_PATH}",
        f"https://s\u212ans.eu-central-1.amazonaws.com{PEM_PATH}",
        f"https://{HOST}{PEM_PATH}?x=1",
        f"https://{HOST}{PEM_PATH}#x",
        f"https://{HOST}{PEM_PATH}\n",
        f" https://{HOST}{PEM_PATH}",
        f"https://{HOST}/..{PEM_PATH}",
        f"https://{HOST}/a{PEM_PATH}",
        f"https://{HOST}/SimpleNotificationService-.pem",
        f"https://{HOST}/SimpleNotificationService-%66%66%66%66%66%66%66%66.pem",
        f"https://{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=x",
        "https://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "//" + HOST + PEM_PATH,
    ],
)
def test_a_certificate_of_any_other_place_is_not_even_asked_for(office: Office, address: str) -> None:
    office.sns.certificate_url = address
    with pytest.raises(RequestInvalid, match="SigningCertURL"):
        office.deliver(office.sns.notification(PUSH))
    hostile = office.sns.confirmation(SubscribeURL=address)
    office.sns.certificate_url = CERTIFICATE_URL
    with pytest.raises(RequestInvalid, match="SigningCertURL"):
        office.deliver(hostile)
    assert office.fetched == []


@pytest.mark.parametrize(
    "address",
    [
        f"https://evil.example/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=t",
        f"https://{HOST}/?Action=Publish&TopicArn={TOPIC}&Token=t",
        f"https://{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}-too&Token=t",
        f"https://{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=other",
        f"https://{HOST}/?Action=ConfirmSubscription&Action=Publish&TopicArn={TOPIC}&Token=t",
        f"https://{HOST}@evil.example/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=t",
        "http://169.254.169.254/latest/meta-data/",
    ],
)
def test_a_confirmation_that_leads_elsewhere_is_refused(office: Office, address: str) -> None:
    with pytest.raises(RequestInvalid, match="SubscribeURL"):
        office.deliver(office.sns.confirmation(token="t", SubscribeURL=address))


def test_the_usual_port_and_the_hosts_of_china_are_known() -> None:
    there = "arn:aws-cn:sns:cn-north-1:123456789012:pushes"
    sender = Sns(NOON, topic=there, certificate_url=f"https://sns.cn-north-1.amazonaws.com.cn:443{PEM_PATH}")
    opened = sns.opened(sender.notification(PUSH))
    assert opened.certificate_url == f"https://sns.cn-north-1.amazonaws.com.cn{PEM_PATH}"
    assert sns.confirmation_url(there, "a/b").startswith("https://sns.cn-north-1.amazonaws.com.cn/?Action=Confirm")
    assert not sns.is_topic("arn:aws:sns:eu-central-1@evil.example:123456789012:x")


def test_a_subscription_is_confirmed_after_it_was_stored_and_its_end_is_only_told(office: Office) -> None:
    assert office.deliver(office.sns.confirmation()) == 200
    assert (office.confirmed, office.hooks.backlog()) == ([], 1)
    office.settle()
    arn = TOPIC.replace(":", "%3A")
    assert office.confirmed == [f"https://{HOST}/?Action=ConfirmSubscription&TopicArn={arn}&Token={'t0k3n' * 20}"]
    assert office.deliver(office.sns.confirmation("UnsubscribeConfirmation")) == 200
    assert office.hooks.backlog() == 0


def test_what_asks_for_nothing_is_not_stored(office: Office) -> None:
    for message in ("hello", {"Service": "Amazon S3", "Event": "s3:TestEvent"}, {**PUSH, "source": "aws.ec2"}):
        assert office.deliver(office.sns.notification(message)) == 200
    assert office.hooks.backlog() == 0


@pytest.mark.parametrize(
    "pem",
    [
        certificate(NOON, days=(-30, -1)),
        certificate(NOON, days=(1, 30)),
        certificate(NOON, common_name="evil.example"),
        certificate(NOON, common_name="sns.amazonaws.com.evil.example"),
        certificate(NOON, common_name="evilsns.amazonaws.com", dns="sns.amazonaws.com"),
        certificate(NOON, issuer="sns.amazonaws.com"),
        certificate(NOON, key=elliptic_key()),
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"<html>",
        SourceRefused("HTTP 404"),
    ],
)
def test_a_certificate_that_is_not_one_of_sns_vouches_for_nothing(office: Office, pem: bytes) -> None:
    office.pem = pem
    assert office.deliver(office.sns.notification(PUSH)) == 401
    assert office.hooks.backlog() == 0


@pytest.mark.parametrize(
    "name",
    [
        "sns.amazonaws.com",
        "sns.cn-north-1.amazonaws.com.cn",
        "sns-signing.ap-east-1.amazonaws.com",
        "sns-us-gov-west-1.amazonaws.com",
    ],
)
def test_the_names_that_sns_has_are_known(name: str) -> None:
    assert key_of(x509.load_pem_x509_certificate(certificate(NOON, common_name=name)), NOON).key_size == 2048


def test_a_certificate_that_cannot_be_had_now_has_the_message_delivered_again(office: Office) -> None:
    office.pem = Unavailable("down")
    body = office.sns.notification(PUSH)
    with pytest.raises(Unavailable):
        office.deliver(body)
    office.pem = PEM
    assert office.deliver(body) == 200
    office.clock.at += KEPT_SECONDS
    office.sns.now = office.clock.at
    office.pem = certificate(office.clock.at, days=(-30, -1))
    assert office.deliver(office.sns.notification(PUSH)) == 401, "it is asked for anew after a day"


def test_invented_addresses_cost_a_dozen_questions_a_minute_and_never_the_certificate_that_is_known(
    office: Office,
) -> None:
    assert office.deliver(office.sns.notification(PUSH)) == 200
    office.pem = SourceRefused("HTTP 404")
    asked = 0
    for number in range(60):
        office.sns.certificate_url = f"https://{HOST}/SimpleNotificationService-{number:032x}.pem"
        try:
            assert office.deliver(office.sns.notification(PUSH)) == 401
            asked += 1
        except Unavailable:
            pass
    assert asked == certificates.MOST_A_MINUTE - 1
    office.sns.certificate_url = CERTIFICATE_URL
    assert office.deliver(office.sns.notification(PUSH)) == 200
    office.clock.at += 60
    office.sns.certificate_url = f"https://{HOST}/SimpleNotificationService-{99:032x}.pem"
    assert office.deliver(office.sns.notification(PUSH)) == 401


def test_a_server_that_hangs_holds_a_delivery_up_for_seconds_and_the_next_one_has_its_answer() -> None:
    asked, go_on = threading.Event(), threading.Event()

    def fetch(_: str) -> bytes:
        asked.set()
        go_on.wait(60)
        return PEM

    book = Certificates(fetch, ManualClock(), patience=0.01)
    envelope = sns.opened(Sns(NOON).notification(PUSH))
    given = (envelope.certificate_url, envelope.text, envelope.signature, envelope.version)
    with pytest.raises(Unavailable, match="no answer"):
        book.signed(*given)
    assert asked.wait(60)
    go_on.set()
    patient = Certificates(fetch, ManualClock(), patience=60)
    assert patient.signed(*given)


class _Sns(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        status, content, headers = self.server.answers.pop(0)  # type: ignore[attr-defined]
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def server(
    answers: list[tuple[int, bytes, dict[str, str]]], tls: Path | None = None
) -> Iterator[tuple[str, list[str]]]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Sns) as running:
        running.handle_error = lambda *_: None  # type: ignore[method-assign]  # who does not believe us hangs up
        running.answers, running.asked = answers, []  # type: ignore[attr-defined]
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            running.socket = context.wrap_socket(running.socket, server_side=True)
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            scheme = "http" if tls is None else "https"
            yield f"{scheme}://127.0.0.1:{running.server_address[1]}", running.asked  # type: ignore[attr-defined]
        finally:
            running.shutdown()
            thread.join()


def test_a_certificate_is_fetched_without_following_anybody_and_without_reading_on_for_ever() -> None:
    moved = (302, b"", {"Location": "http://169.254.169.254/"})
    answers = [(200, PEM, {}), moved, (404, b"", {}), (503, b"", {}), (200, b"x" * (200 << 10), {})]
    with server(answers) as (place, asked):
        fetch = fetch_through(Connections())
        assert parsed(fetch(f"{place}/a.pem"), "here").subject
        for trouble in (SourceRefused, SourceRefused, Unavailable, SourceRefused):
            with pytest.raises(trouble):
                fetch(f"{place}/a.pem")
    assert asked == ["/a.pem"] * 5


def test_a_host_that_nobody_vouches_for_shows_no_certificate(tmp_path: Path) -> None:
    pem, _ = private_key()
    own = load_pem_private_key(pem.encode(), None)
    shown = certificate(time.time(), key=own, dns="sns.eu-central-1.amazonaws.com")
    (tmp_path / "both.pem").write_bytes(pem.encode() + shown)
    with server([], tmp_path / "both.pem") as (place, asked):
        with pytest.raises(Unavailable):
            fetch_through(Connections())(f"{place}{PEM_PATH}")
        assert asked == []


def test_a_confirmation_is_one_question_and_a_refusal_is_told() -> None:
    with server([(200, b"", {}), (302, b"", {"Location": "/x"}), (403, b"", {}), (500, b"", {})]) as (place, asked):
        confirm = confirm_through(Connections())
        confirm(f"{place}/?Token=secret")
        for trouble in (RequestInvalid, RequestInvalid, Unavailable):
            with pytest.raises(trouble) as caught:
                confirm(f"{place}/?Token=secret")
            assert "secret" not in caught.value.message
        assert len(asked) == 4
