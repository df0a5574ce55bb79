"""Management controllers through sushy, proofs of power-on, and rented hosts through libcloud's dummy provider."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from libcloud.compute import providers

from foreshade.adapters.clouds import CloudError, Lease, LibcloudCloud
from foreshade.adapters.power import PowerError, PowerState, Proofs
from foreshade.adapters.redfish import RedfishPower
from foreshade.envs.errors import InputError
from tests.redfish_bmc import Bmc


@pytest.fixture
def bmc() -> Iterator[Bmc]:
    """One machine that is on."""
    served = Bmc({"node": "On"})
    yield served
    served.close()


def host(bmc: Bmc) -> RedfishPower:
    return RedfishPower(bmc.root, "/redfish/v1/Systems/node", timeout_s=30.0)


def test_host_is_switched_and_says_what_its_chassis_draws(bmc: Bmc) -> None:
    power = host(bmc)
    reading = power.read()
    assert (reading.state, reading.power_w, reading.hottest_c) == (PowerState.ON, 321.0, 24.0)
    power.off()
    assert power.read().state is PowerState.OFF
    power.off()
    power.on()
    assert power.read().state is PowerState.ON
    assert bmc.resets == [("node", "GracefulShutdown"), ("node", "On")]  # what is off stays off


def test_watts_that_nobody_measures_are_unknown_and_not_zero(bmc: Bmc) -> None:
    bmc.watts = None
    assert host(bmc).read().power_w is None


def test_rack_is_switched_by_its_chassis(bmc: Bmc) -> None:
    rack = RedfishPower(bmc.root, "/redfish/v1/Chassis/1", timeout_s=30.0)
    rack.off(force=True)
    assert (rack.read().state, bmc.chassis) == (PowerState.OFF, "Off")


def test_controller_that_fails_is_one_line_and_may_come_back(bmc: Bmc) -> None:
    power = host(bmc)
    bmc.broken = True
    with pytest.raises(
        PowerError, match=r"^redfish: .*Systems/node: state: expected an answer, found"
    ) as error:
        power.read()
    assert "\n" not in str(error.value)
    bmc.broken = False
    assert power.read().state is PowerState.ON


def test_proof_outlives_the_process_and_a_torn_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "proofs.json"
    Proofs(path).prove("h1", 12.0)
    assert Proofs(path).proven("h1")
    assert not Proofs(path).proven("h2")
    path.write_text('{"h1": ')
    with pytest.raises(InputError, match="expected machines and times"):
        Proofs(path)


@pytest.fixture
def cloud(tmp_path: Path) -> LibcloudCloud:
    """libcloud's own dummy provider, under names."""
    said = tmp_path / "credentials.yaml"
    said.write_text(json.dumps({"args": [0]}))
    if "named" not in providers.DRIVERS:
        providers.set_driver("named", "tests.named_cloud", "NamedNodeDriver")
    return LibcloudCloud("named", size="Small", image="Ubuntu 9.10", credentials=said)


def test_host_is_rented_once_under_its_name_and_given_back(cloud: LibcloudCloud) -> None:
    assert cloud.node("extra").lease is Lease.NONE
    cloud.order("extra")
    cloud.order("extra")
    node = cloud.node("extra")
    assert (node.lease, bool(node.address)) == (Lease.THERE, True)
    assert sum(n.name == "extra" for n in cloud._driver.list_nodes()) == 1
    cloud.give_back("extra")
    cloud.give_back("extra")
    assert cloud.node("extra").lease is Lease.NONE


def test_unknown_provider_size_and_credentials_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a provider of libcloud, found 'nimbus9000'"):
        LibcloudCloud("nimbus9000", size="s", image="i")
    said = tmp_path / "credentials.yaml"
    said.write_text(json.dumps({"args": [0]}))
    with pytest.raises(CloudError, match=r"size: expected one of .*Small.*, found 'Huge'"):
        LibcloudCloud("dummy", size="Huge", image="Ubuntu 9.10", credentials=said).order("x")
    with pytest.raises(InputError, match="expected arguments of a driver"):
        LibcloudCloud("dummy", size="Small", image="i", credentials=tmp_path / "none.yaml")
