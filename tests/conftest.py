"""What holds for every test."""

import signal

# Programs that a test starts are interrupted by SIGINT, also when the tests themselves run in the background of a shell.
signal.signal(signal.SIGINT, signal.default_int_handler)
