"""Where the surface is served, over what, and to what it traces: what is refused, and what TLS is spoken."""

import socket
import ssl
import threading
import warnings
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

pytest.importorskip("fastapi", reason="fastapi IS MISSING: the API is not tested")

from pydantic import ValidationError

from foreshade.adapters.app.api.server import ApiServer
from foreshade.adapters.app.api_config import ApiSection
from foreshade.adapters.auth.role import Role
from foreshade.adapters.tracing import TickTraces, TracingSection
from foreshade.adapters.wire.forecast import Moment
from foreshade.envs.errors import InputError
from tests.api_surface import served

EVERYWHERE = "0.0.0.0"  # noqa: S104  compared
HOOK = {"name": "pager", "url": "https://pager.example", "secret_file": "/etc/secret"}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"address": EVERYWHERE}, "expected tls_certificate and tls_key, or plain_http"),
        ({"address": "10.1.2.3"}, "expected tls_certificate and tls_key, or plain_http"),
        ({"address": "::"}, "expected tls_certificate and tls_key, or plain_http"),
        ({"tls_key": "/k.pem"}, "both of tls_certificate, tls_key, or none"),
        ({"tls_certificate": "/c.pem", "plain_http": True}, "both of tls_certificate, tls_key, or none"),
        ({"webhooks": [HOOK, HOOK]}, "different names"),
        ({"port": 70_000}, "port"),
        ({"rate": {"per_s": 0}}, "per_s"),
        ({"adress": "127.0.0.1"}, "adress"),
    ],
)
def test_what_would_be_open_to_others_or_cannot_be_meant_is_refused(said, why):
    with pytest.raises(ValidationError, match=why):
        ApiSection.model_validate(said)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"address": "localhost"},
        {"address": "::1"},
        {"address": "127.3.2.1"},
        {"address": EVERYWHERE, "plain_http": True},
        {"address": EVERYWHERE, "tls_certificate": "/c.pem", "tls_key": "/k.pem"},
    ],
)
def test_the_loopback_tls_and_a_proxy_that_is_said_are_taken(said):
    one = ApiSection.model_validate({**said, "hosts": ["Control.Example"]})
    assert {"localhost", "127.0.0.1", "control.example"} <= one.names
    assert EVERYWHERE not in one.names, "no client knows a server by that"


def certificate(folder, name):
    """A certificate of its own, as PEM files."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / f"{name}.pem", folder / f"{name}.key"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return pem, secret


def test_over_tls_nothing_older_than_1_2_is_spoken_and_browsers_are_told_to_stay(tmp_path):
    pem, key = certificate(tmp_path, "one")
    with served(tmp_path / "control", tls_certificate=pem, tls_key=key) as one:
        trusted = ssl.create_default_context(cafile=pem)
        port = one.http.base_url.port
        with httpx.Client(base_url=f"https://localhost:{port}", verify=trusted) as http:
            answer = http.get("/v1/cluster", headers={"Authorization": f"Bearer {one.token(Role.VIEWER)}"})
            assert answer.status_code == 200
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
        old = ssl.create_default_context(cafile=pem)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that nobody should speak it is what is tested
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            pytest.raises(ssl.SSLError, match=r"ALERT_PROTOCOL_VERSION|EOF"),  # the server hangs up
        ):
            old.wrap_socket(plain, server_hostname="localhost")
        with pytest.raises(httpx.TransportError), httpx.Client() as http:
            http.get(f"http://localhost:{port}/healthz")


def test_a_certificate_that_does_not_fit_its_key_is_one_line_before_anything_begins(tmp_path):
    (one, _), (_, other) = certificate(tmp_path, "one"), certificate(tmp_path, "two")
    for key, why in (
        (other, "expected a certificate and its key"),
        (tmp_path / "none", "expected a PEM file"),
    ):
        with pytest.raises(InputError, match=why):
            ApiServer(ApiSection(port=0, tls_certificate=one, tls_key=key), None)


def test_a_port_that_is_taken_is_one_line(tmp_path):
    with (
        served(tmp_path) as one,
        pytest.raises(InputError, match="expected an address that can be listened on"),
    ):
        ApiServer(ApiSection(port=one.http.base_url.port), None)


# --- traces


MOMENT = Moment.model_validate(
    {
        "tick": 7, "time": "2026-11-29T12:00:00Z", "mode": "auto", "paused": False, "idle": "", "by": "ham",
        "why": "", "agreement": 0.5, "choices": [], "plans": ["p1"], "refused": {"budget": 2}, "settled": {},
        "seconds": {"observe": 0.5, "decide": 1.5}, "cost_usd": {},
    }
)  # fmt: skip


def test_a_tick_is_one_span_with_its_stages_in_it():
    memory = pytest.importorskip(
        "opentelemetry.sdk.trace.export.in_memory_span_exporter", reason="opentelemetry IS MISSING"
    ).InMemorySpanExporter()
    traces = TickTraces(TracingSection(endpoint="http://127.0.0.1:1/v1/traces"), "hall", memory)
    traces.tick(MOMENT)
    traces.close()
    spans = {span.name: span for span in memory.get_finished_spans()}
    assert set(spans) == {"tick", "observe", "decide"}
    root = spans["tick"]
    assert root.attributes["foreshade.refused"] == 2
    assert root.resource.attributes["foreshade.cluster"] == "hall"
    assert {spans[name].parent.span_id for name in ("observe", "decide")} == {root.context.span_id}
    lasts = {name: (span.end_time - span.start_time) / 1e9 for name, span in spans.items()}
    assert lasts == pytest.approx({"tick": 2.0, "observe": 0.5, "decide": 1.5}, abs=1e-6)
    assert spans["decide"].start_time == spans["observe"].end_time


def test_a_collector_gets_the_traces_and_one_that_is_silent_or_not_there_is_not_waited_for():
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="opentelemetry IS MISSING")
    got, answered, may_answer = [], [], threading.Event()

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            answered.append(may_answer.wait(30.0))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        endpoint = f"http://127.0.0.1:{server.server_port}/v1/traces"
        traces = TickTraces(TracingSection(endpoint=endpoint), "hall")
        traces.tick(MOMENT)
        may_answer.set()  # not before the tick has returned
        traces.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert [path for path, _ in got] == ["/v1/traces"]
    assert answered == [True]
    assert b"foreshade.cluster" in got[0][1]
    gone = TickTraces(TracingSection(endpoint="http://127.0.0.1:9/v1/traces", timeout_s=0.2), "hall")
    gone.tick(MOMENT)
    gone.close()


@pytest.mark.parametrize("said", [{"endpoint": "ftp://x"}, {"endpoint": "http://x", "timeout_s": 0}, {}])
def test_a_collector_that_cannot_be_meant_is_refused(said):
    with pytest.raises(ValidationError):
        TracingSection.model_validate(said)
