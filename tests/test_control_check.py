"""``foreshade control --check``: what a configuration names is there and can be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from foreshade.adapters.app.control_check import check
from foreshade.adapters.app.control_config import load_config
from foreshade.envs.errors import InputError

HOOK = "api: {webhooks: [{name: pager, url: 'https://x.example/h', events: [plan], secret_file: %s}]}"


WORLD = "simulated: {workload: 'generated:enterprise?vms=4&days=0.1'}"
HOST = "libvirt:\n  hosts: [{name: a, uri: '%s'}]\n  "


def checked(folder: Path, text: str) -> str:
    if "simulated:" not in text and "libvirt:" not in text:
        text = f"{WORLD}\n{text}"
    file = folder / "control.yaml"
    file.write_text(text, encoding="utf-8")
    return check(load_config(file, {}))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("simulated: {scenario: nope}", "unknown scenario 'nope'"),
        ("simulated: {scenario: cloudsim}", "expected engine foreshade, found cloudsim"),
        ("simulated: {workload: 'generated:nope'}", "nope"),
        ("simulated: {workload: 'bitbrains:/nowhere'}", "/nowhere"),
        ("simulated: null\nmode: auto", "expected a section simulated or libvirt, found neither"),
        (HOST % "kvm1", "libvirt: host a: expected a libvirt URI"),
        (HOST % "qemu:///system" + "templates: {web: {domain: nowhere.xml}}", "nowhere.xml: expected"),
        (
            HOST % "qemu:///system" + "prometheus: {url: 'http://p', token_file: nowhere}",
            "libvirt: prometheus.token_file nowhere: expected a file with the secret",
        ),
        (
            "store: {url: 'mysql://kim:hush@db.example/f'}",
            "expected a path or a URL of sqlite or postgresql, found one of",
        ),
        ("store: {url: '://'}", "expected a path or a database URL"),
        ("store: {url_file: nowhere}", "store.url_file nowhere: expected a file with the secret"),
        ("agent: {name: rules, rules: nowhere.yaml}", "nowhere.yaml: expected a file of rules"),
        ("agent: {components: teleport}", "found 'teleport'"),
        (
            "api: {address: 0.0.0.0, tls_certificate: no.pem, tls_key: no.key}",
            "api.tls_certificate no.pem: expected a file that can be read",
        ),
        (HOOK % "nowhere", "api.webhooks pager: secret_file nowhere"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_line_without_secrets(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError) as raised:
        checked(tmp_path, text)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "hush" not in str(raised.value)


def test_what_is_there_passes_and_no_store_is_made(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x" * 32 + "\n", encoding="utf-8")
    store = "store: {url: 'postgresql+psycopg://kim:hush@db.example/f'}"
    assert (
        checked(tmp_path, f"state_dir: {tmp_path / 'state'}\n{store}\n" + HOOK % (tmp_path / "secret")) == ""
    )
    assert not (tmp_path / "state").exists()


def test_a_policy_that_does_not_verify_is_told_and_stops_no_start(tmp_path: Path) -> None:
    assert "nowhere: expected a frozen model" in checked(tmp_path, "agent: {policy: nowhere}")
    assert checked(tmp_path, "agent: {name: rules, policy: nowhere}") == ""
