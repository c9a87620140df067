"""Torture: builds under random kills and faults on a host of the user's, and the audit of what became of them."""
