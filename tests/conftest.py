"""What every test gets: one thread per process, and one hypothesis profile."""

from __future__ import annotations

import os

# Before torch or numpy are loaded, and inherited by the processes that tests start: the tests run on all cores at once
# (pytest-xdist), and more threads than cores make small kernels many times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from hypothesis import HealthCheck, settings

# No deadline: a loaded machine is not a failure. In CI the examples are the same in every run.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")
