"""What holds for all tests.

Hypothesis has no deadlines, which measure the machine, and takes the same examples every time in CI. Ctrl-C works.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from tests.signals import obey_ctrl_c

obey_ctrl_c()

settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))
