"""What holds for every test."""

import signal

from hypothesis import HealthCheck, settings

# SIGINT ends the programs that a test starts, also where the tests run in the background of a shell, which ignores it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A machine that is busy with something else makes no example wrong.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
