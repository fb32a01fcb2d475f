"""Fractions of CPUs, as cpu.max of cgroup v2 counts them."""

PERIOD = 100_000  # microseconds: a quota of as many is one CPU
MINIMUM_QUOTA = 1000  # microseconds, the least that cpu.max takes
