"""What all tests stand on."""

import signal

# Who was started in the background by a shell ignores ctrl-C, and so do its children; some tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)
