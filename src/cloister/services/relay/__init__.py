"""An Oblivious HTTP relay (RFC 9458): it knows who asks and never what, and passes on nothing of who asked."""
