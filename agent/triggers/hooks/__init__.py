"""Webhooks: what git hosts tell of, verified, understood, judged by a project's filters, and asked to be built."""
