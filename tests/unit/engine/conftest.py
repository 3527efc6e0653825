"""Hypothesis profiles: `ci` is quick, `--hypothesis-profile=thorough` searches for minutes."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

COMMON = {"deadline": None, "print_blob": True, "suppress_health_check": [HealthCheck.too_slow]}

settings.register_profile("ci", max_examples=25, stateful_step_count=40, **COMMON)
settings.register_profile("thorough", max_examples=600, stateful_step_count=100, **COMMON)
if settings.get_current_profile_name() == "default":
    settings.load_profile("ci")
