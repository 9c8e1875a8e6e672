"""Oblivious HTTP (RFC 9458): sealing Binary HTTP messages between client and gateway, and hiding their sizes."""
