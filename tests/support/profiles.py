"""How many examples, seeds and schedules a test tries: moderate by default, more in CI, many more at night.

`TEST_PROFILE=ci pytest` chooses the profile, and so does `pytest --hypothesis-profile=ci`. Tests give their number for
the moderate profile, either as `@settings(max_examples=scaled(40))` or as `range(scaled(40))`.
"""

import math
import os

from hypothesis import HealthCheck, settings

PROFILES = {"moderate": 1, "ci": 4, "nightly": 40}
"""By name, how many times the moderate number of tries."""
MODERATE_EXAMPLES = 30
VARIABLE = "TEST_PROFILE"


def load_profiles() -> None:
    """Register the profiles with hypothesis and load the one that the environment names."""
    for name, factor in PROFILES.items():
        settings.register_profile(
            name,
            max_examples=factor * MODERATE_EXAMPLES,
            # Timings mean nothing on a shared machine, and no property depends on them.
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
            # `@reproduce_failure(...)`, to be copied from the report of a failure in CI.
            print_blob=True,
        )
    chosen = os.environ.get(VARIABLE) or "moderate"
    if chosen not in PROFILES:
        raise ValueError(f"{VARIABLE}={chosen} is not a profile; use one of {', '.join(PROFILES)}")
    settings.load_profile(chosen)


def scaled(moderate: int) -> int:
    """The number of tries under the current profile, given the number under the moderate one."""
    return math.ceil(moderate * PROFILES.get(settings.get_current_profile_name(), 1))


def is_thorough() -> bool:
    """Whether the current profile is larger than the moderate one."""
    return scaled(1) > 1
