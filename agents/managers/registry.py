"""Components by name: which there are, which are on, with the knobs of a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from foreshade.agents.feedback import Feedback, FeedbackKnobs
from foreshade.agents.managers.adjuster import Adjuster, AdjusterKnobs
from foreshade.agents.managers.churn import ChurnManager, ChurnManagerKnobs
from foreshade.agents.managers.despawning import Despawning, DespawningKnobs
from foreshade.agents.managers.evacuation import Evacuation, EvacuationKnobs
from foreshade.agents.managers.maintenance import MaintenanceDrains, MaintenanceKnobs
from foreshade.agents.managers.manager import Manager, ManagerKnobs
from foreshade.agents.managers.microvms import MicroVms, MicroVmsKnobs
from foreshade.agents.managers.profile_match import ProfileMatch, ProfileMatchKnobs
from foreshade.agents.managers.rack_power import RackPower, RackPowerKnobs
from foreshade.agents.managers.renting import Renting, RentingKnobs
from foreshade.agents.managers.shadows import Shadows, ShadowsKnobs
from foreshade.agents.managers.spawning import Spawning, SpawningKnobs
from foreshade.agents.managers.warm_pool import WarmPool, WarmPoolKnobs
from foreshade.envs.errors import InputError
from foreshade.envs.yaml_document import Document, build, parse

SHIPPED = "components.yaml"


class Component(NamedTuple):
    """How a component is made."""

    knobs: type[ManagerKnobs]
    make: Callable[[Any], Manager]  # of such knobs


#: Every component by its name; each stands in a module of its own.
COMPONENTS: Mapping[str, Component] = {
    Feedback.name: Component(FeedbackKnobs, Feedback),
    ProfileMatch.name: Component(ProfileMatchKnobs, ProfileMatch),
    Spawning.name: Component(SpawningKnobs, Spawning),
    Despawning.name: Component(DespawningKnobs, Despawning),
    Shadows.name: Component(ShadowsKnobs, Shadows),
    WarmPool.name: Component(WarmPoolKnobs, WarmPool),
    MicroVms.name: Component(MicroVmsKnobs, MicroVms),
    Adjuster.name: Component(AdjusterKnobs, Adjuster),
    "churn": Component(ChurnManagerKnobs, ChurnManager),
    "evacuation": Component(EvacuationKnobs, Evacuation),
    "maintenance": Component(MaintenanceKnobs, MaintenanceDrains),
    "rack_power": Component(RackPowerKnobs, RackPower),
    "renting": Component(RentingKnobs, Renting),
}


def load_components(
    said: str | None = None,
    known: Mapping[str, Component] = COMPONENTS,
    only: Sequence[str] | None = None,
) -> tuple[Manager, ...]:
    """The components that are on, in the order of the file.

    Args:
        said: None = those that ``components.yaml`` of the package enables; ``none``; ``all``; names, separated
            by commas, with the knobs of that file; or the path of a YAML file like it.
        known: components by name.
        only: those that are on whatever ``said`` enables, with the knobs that it gives them; None = as said.

    Raises:
        InputError: there is no such component, or a file, key or value is not what it should be.

    """
    knobs, chosen = _read(said, known)
    names = chosen if only is None else tuple(only)
    return tuple(known[name].make(knobs.get(name) or known[name].knobs()) for name in names)


def components_on(said: str | None = None, known: Mapping[str, Component] = COMPONENTS) -> tuple[str, ...]:
    """The names of what ``load_components`` would make."""
    return _read(said, known)[1]


def _read(
    said: str | None, known: Mapping[str, Component]
) -> tuple[dict[str, ManagerKnobs], tuple[str, ...]]:
    """Knobs by component, and which are on."""
    path = Path(said) if said is not None and said.endswith((".yaml", ".yml")) else None
    document = _document(path)
    sections = document.value
    if not isinstance(sections, Mapping):
        raise InputError(f"{document.name}:1: expected components with their knobs, found {sections!r}")
    if path is None:  # the package's file tells of the package's components alone
        sections = {name: said_of for name, said_of in sections.items() if name in known}
    for name in sections:
        _require(name, known, f"{document.name}:{document.line((name,))}: ")
    knobs = {name: build(known[name].knobs, document, sections.get(name) or {}, (name,)) for name in sections}
    if said is None or path is not None:
        return knobs, tuple(name for name, said_of in knobs.items() if said_of.enabled)
    if said == "all":
        return knobs, tuple(known)
    chosen = () if said == "none" else tuple(name.strip() for name in said.split(","))
    for name in chosen:
        _require(name, known, "--components: ")
    if len(set(chosen)) < len(chosen):
        raise InputError(f"--components: expected each component once, found {said}")
    return {name: of.model_copy(update={"else_idle": False}) for name, of in knobs.items()}, chosen


def _document(path: Path | None) -> Document:
    if path is None:
        return parse(files(__package__).joinpath(SHIPPED).read_text(encoding="utf-8"), SHIPPED)
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a file of components, found {error}") from error


def _require(name: str, known: Mapping[str, Component], where: str) -> None:
    if name not in known:
        raise InputError(f"{where}expected components of {', '.join(known) or 'none'}, found {name!r}")
