"""What holds for every test."""

import signal

# SIGINT ends the programs that a test starts, also where the tests run in the background of a shell, which ignores it.
signal.signal(signal.SIGINT, signal.default_int_handler)
