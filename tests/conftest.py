"""What all tests share."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.servers", "tests.index_stores"]

# Timings say nothing on a shared machine; what a property says does not depend on them.
settings.register_profile("braid", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
settings.load_profile("braid")
