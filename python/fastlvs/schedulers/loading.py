"""Schedulers that a configuration file names."""

from __future__ import annotations

import importlib

from fastlvs import checks
from fastlvs.errors import ConfigurationError
from fastlvs.schedulers.scheduler import Scheduler

__all__ = ["REFERENCE_PREFIX", "load"]

REFERENCE_PREFIX = "python:"


def load(reference: str) -> Scheduler:
    """The scheduler that a configuration file names as ``python:module:Class``: an object of that class."""
    expected = "expected python:module:Class, the class with a select method and no compulsory arguments"
    checks.text(reference, "python:module:Class", "scheduler")
    named = checks.shown(reference)
    _, module_name, class_name = (*reference.split(":", 2), "", "")[:3]
    try:
        scheduler = getattr(importlib.import_module(module_name), class_name)()
    except Exception as error:  # whatever a module of the user's raises when it is imported or called
        raise ConfigurationError(
            f"cannot load {named}: {type(error).__name__}: {checks.shown(error, str)}; {expected}",
            field="scheduler",
        ) from error
    if not isinstance(scheduler, Scheduler):
        raise ConfigurationError(f"{named} has no method select; {expected}", field="scheduler")
    return scheduler
