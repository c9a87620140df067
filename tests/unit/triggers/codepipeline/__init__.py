"""Tests of agent/triggers/codepipeline."""
