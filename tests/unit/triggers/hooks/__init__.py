"""Tests of agent/triggers/hooks."""
