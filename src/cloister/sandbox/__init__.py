"""Engines in sandboxes: what is staged for them, what confines them, who starts, watches and asks them."""
