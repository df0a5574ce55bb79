"""The tree of errors; a message says what, where, expected, got.

ForeshadeError
├── InputError        a file, key or argument that cannot be used (exit status 2)
│   ├── WorkloadError     a trace or archive
│   ├── ScenarioError     a scenario file
│   └── TemplateError     a demand that no template can hold
├── ActionError       an action on something that cannot take it
├── PlanError         a step of a plan or action that its states do not allow
├── JournalError      a journal that cannot be written or read, so that nothing may be touched
├── FenceError        a lease that another controller has, so that nothing may be touched
├── ForecastError     a forecaster that is used against its contract
├── SimulationError   a simulated day that cannot go on
├── WorldError        a live world that does not answer
└── MissingExtraError an optional dependency that is not installed
"""

from __future__ import annotations


class ForeshadeError(Exception):
    """Anything Foreshade raises on purpose."""


class InputError(ForeshadeError):
    """Something a person gave cannot be used; the message is one line for the screen."""


class WorkloadError(InputError):
    """A trace, folder or archive cannot be read as what it claims to be."""


class ScenarioError(InputError):
    """A scenario file has an unknown key, a wrong type or a value out of range."""


class TemplateError(InputError):
    """No template, or not the one that was named, can hold what is asked of it."""


class ActionError(ForeshadeError):
    """An action names something that is gone or cannot take it."""


class PlanError(ForeshadeError):
    """A plan or action cannot go from its state to the one that is wanted."""


class JournalError(ForeshadeError):
    """The store cannot be written or read; nothing may be touched while that is so."""


class FenceError(ForeshadeError):
    """Another controller has the lease of this cluster; nothing may be touched."""


class ForecastError(ForeshadeError):
    """A forecaster was given another shape, state or configuration than it can take."""


class SimulationError(ForeshadeError):
    """A simulated day reached a state that its model rejects."""


class WorldError(ForeshadeError):
    """A live world does not answer, so nothing is known of it."""


class MissingExtraError(InputError):
    """An optional dependency is absent; the message names the extra to install."""
