"""Checks: what `buildspecd doctor` looks at, one noun a file; `agent.app.check` says which of them a host gets."""
