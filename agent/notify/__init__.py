"""Tells the outside what happened: events from the outbox, at least once, each sink at its own pace."""
