"""Templates of VMs: what ships, what a file may say, and what is chosen for a predicted demand."""

from __future__ import annotations

import math
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshade.envs.errors import InputError, ScenarioError
from foreshade.envs.model.action import Allocation, Boot
from foreshade.envs.scenarios.load import load_scenario
from foreshade.envs.scenarios.prices import Prices
from foreshade.envs.templates.select import STEPS, ApplicationProfile, select_template
from foreshade.envs.templates.template import Template, check_fits, load, show, template, templates

NAMES = ["batch", "cache", "database", "inference", "web"]
amount = st.floats(0, 1e7)


def test_a_template_ships_for_every_application_type_and_is_read_back_as_it_is_shown() -> None:
    assert list(templates()) == NAMES
    for name, said in templates().items():
        assert said.application == name
        assert load(show(said), "again.yaml") == said


def test_every_figure_that_was_set_names_its_source() -> None:
    for said in templates().values():
        for field in ("image", "software", "network", "allocation", "limits", "target", "lead_s"):
            assert said.source(field), f"{said.name}.{field}"


def test_a_named_type_is_served_by_its_own_template_at_the_size_of_the_rule() -> None:
    found = select_template((7_000.0, 4_000.0, 10.0, 100.0, 0.0), ApplicationProfile("web"))
    assert found.template.name == "web"
    # 7,000 / 0.7 = 10,000 MHz = 4 vCPUs; 4,000 / 0.87 = 4,597.7 MiB, in steps of 256: 4,608; the rest is the least
    assert (found.vms, found.allocation) == (1, (10_000.0, 4_608.0, 48.0, 1_000.0, 0.0))
    usd = 10.0 * 0.014 + 4.5 * 0.00375 + 48 * 5.5e-5 + 1_000 * 1.6e-5
    assert found.usd_h == pytest.approx(usd)


def test_beyond_the_limits_there_are_more_vms_of_equal_size() -> None:
    found = select_template((70_000.0, 0.0, 0.0, 0.0, 0.0), ApplicationProfile("web"))
    assert found.vms == 3  # 100,000 MHz in VMs of at most 40,000
    assert found.allocation[0] == 35_000.0  # a third is 33,333: 14 vCPUs


def test_an_unknown_type_gets_the_cheapest_that_holds_it() -> None:
    unknown = ApplicationProfile()
    assert select_template((9_500.0, 1_000.0, 0.0, 0.0, 0.0), unknown).template.name == "batch"
    assert select_template((100.0, 100.0, 0.0, 0.0, 0.5), unknown).template.name == "inference"
    free_cpu = Prices.model_validate({"unmet": {"cpu_usd_per_ghz_h": 0.0, "memory_usd_per_gib_h": 0.0}})
    demand = (100.0, 60_000.0, 0.0, 0.0, 0.0)
    assert select_template(demand, unknown, prices=free_cpu).usd_h < select_template(demand, unknown).usd_h


def test_nothing_predicted_is_one_vm_of_the_initial_allocation() -> None:
    found = select_template(None, ApplicationProfile("database"))
    assert (found.vms, found.allocation) == (1, (10_000.0, 16_384.0, 96.0, 2_000.0, 0.0))


def test_the_boot_path_is_the_cheapest_that_is_in_time() -> None:
    demand = (100.0, 100.0, 0.0, 0.0, 0.0)

    def boot(lead_s: float, application: str = "web") -> tuple[Boot, bool]:
        found = select_template(demand, ApplicationProfile(application, lead_s))
        return found.boot, found.in_time

    assert boot(math.inf) == (Boot.COLD, True)
    found = select_template(demand, ApplicationProfile("web", math.inf))
    assert boot(found.ready_s) == (Boot.COLD, True)
    assert boot(math.nextafter(found.ready_s, 0)) == (Boot.RESTORED, True)
    assert boot(0.0) == (Boot.SPARE, False)
    assert boot(0.0, "database") == (Boot.RESTORED, False)  # has no spares


@given(demand=st.tuples(amount, amount, amount, amount, st.floats(0, 50)), more=st.floats(1, 4))
def test_what_is_chosen_holds_the_demand_within_its_limits(demand: Allocation, more: float) -> None:
    found = select_template(demand, ApplicationProfile())
    limits = found.template.limits
    for r, (want, got) in enumerate(zip(demand, found.allocation, strict=True)):
        assert limits.least.allocation[r] <= got <= limits.most.allocation[r]
        assert want <= found.vms * got * found.template.target.shares[r] * (1 + 1e-9)
        assert (got / STEPS[r]).is_integer() or got in {limits.least.allocation[r], limits.most.allocation[r]}
    larger = tuple(want * more for want in demand)
    assert select_template(larger, ApplicationProfile(found.template.application)).vms >= found.vms  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("demand", "profile", "expected"),
    [
        ((math.nan, 0, 0, 0, 0), ApplicationProfile("web"), "expected MHz >= 0 and finite, found nan"),
        ((0, -1.0, 0, 0, 0), ApplicationProfile("web"), "expected MiB >= 0 and finite, found -1"),
        ((1, 1, 1, 1, 1), ApplicationProfile("web"), "holds 1 GPUs, found none of type web"),
        ((1, 1, 1, 1, 0), ApplicationProfile("game"), "expected a template of its type, found batch, cache"),
        (None, ApplicationProfile(), "found neither"),
        ((0, 0, 0, 0, 0.1), ApplicationProfile("cache"), "holds 0.1 GPUs, found none of type cache"),
        ((1, 1, 1, 1, 0), ApplicationProfile("web", hypervisor="abacus"), "unknown hypervisor 'abacus'"),
    ],
)
def test_what_cannot_be_selected_is_one_line(
    demand: Allocation | None, profile: ApplicationProfile, expected: str
) -> None:
    with pytest.raises(InputError) as caught:
        select_template(demand, profile)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("layout: 1", "layout: 2", "own.yaml:2: layout: expected 1, found 2"),
        (
            "boot: [cold, restored, spare]",
            "boot: [warm]",
            "own.yaml:15: boot[0]: expected 'cold', 'restored'",
        ),
        ("version: 1.0.0", "version: new", "own.yaml:4: version: expected text like"),
        ("vcpus: 16", "vcpus: 0", "limits.most.vcpus: expected greater than 0, found 0"),
        ("vcpus: 16", "vcpus: 1", "expected allocation.vcpus within 1 to 1, found 2"),
        ("cpu: 0.7", "cpu: 1.7", "target.cpu: expected less than or equal to 1, found 1.7"),
        ("lead_s: 10", "led_s: 10", "did you mean lead_s?"),
        ("ports: [80, 443]", "ports: [80, 99999]", "network.ports[1]: expected less than or equal to 65535"),
    ],
)
def test_a_wrong_file_is_one_line_with_its_place(old: str, new: str, expected: str) -> None:
    text = files("foreshade.envs.templates").joinpath("web.yaml").read_text(encoding="utf-8")
    assert old in text
    with pytest.raises(ScenarioError) as caught:
        load(text.replace(old, new), "own.yaml")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_template_that_fits_nowhere_is_refused_by_what_is_missing() -> None:
    plain = load_scenario("planetlab")
    for name in ("web", "database", "cache", "batch"):
        check_fits(template(name), plain)
    check_fits(template("inference"), load_scenario("enterprise"))
    with pytest.raises(ScenarioError, match="expected a host of planetlab with 1 GPUs, found at most 0"):
        check_fits(template("inference"), plain)
    huge = template("web").model_dump()
    for sizes in (huge["limits"]["least"], huge["limits"]["most"], huge["allocation"]):
        sizes["memory_mib"] = 1e9
    with pytest.raises(ScenarioError, match="1,000,000,000 MiB"):
        check_fits(Template.model_validate(huge), plain)


def test_an_unknown_template_is_named_with_those_there_are() -> None:
    with pytest.raises(
        ScenarioError, match="unknown template 'mail', expected one of batch, cache, database"
    ):
        template("mail")
    with pytest.raises(ScenarioError, match=r"/nowhere\.yaml: expected a readable template file"):
        template("/nowhere.yaml")
