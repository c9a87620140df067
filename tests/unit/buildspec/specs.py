"""Buildspecs to test with, and what becomes of them."""

from __future__ import annotations

import pytest

from agent.buildspec.make import make_plan
from agent.buildspec.plan import PhasePlan, Plan
from agent.errors import BuildspecInvalid
from agent.model.phase import PhaseType

WHOLE = """
version: 0.2
run-as: top
env:
  shell: bash
  variables: {A: "$PATH:/x", EMPTY: , TILDE: ~, QUOTED: "~", N: 010, D: 2020-01-01}
  parameter-store: {P: /app/p}
  secrets-manager: {S: "arn:aws:secretsmanager:r:1:secret:n-AbCdEf:key::"}
  exported-variables: [A, P]
  git-credential-helper: yes
proxy: {upload-artifacts: no, logs: no}
phases:
  build:
    on-failure: ABORT
    commands:
      - one
      - |
        two
        three
      - >-
        four
        five
    finally: [six]
  install:
    run-as: other
    runtime-versions: {python: 3.10, nodejs: latest}
reports:
  unit: {files: ['*.xml'], file-format: JunitXml, base-directory: out, discard-paths: no}
artifacts:
  files: ['**/*', dist/*]
  name: n-$(date +%Y)
  base-directory: dist
  exclude-paths: '**/.*'
  discard-paths: YES
  enable-symlinks: "true"
  s3-prefix: p
  secondary-artifacts:
    docs: {files: [a.txt], base-directory: $CODEBUILD_SRC_DIR_s1}
cache:
  key: k-$(codebuild-hash-files f)
  paths: [/root/.m2/**/*]
  fallback-keys: [k-, j-]
  action: restore
"""


def plan_of(text: str | bytes) -> Plan:
    return make_plan(text, name="buildspec.yml", location="/src/buildspec.yml")


def with_build(*lines: str) -> str:
    return "\n".join(("version: 0.2", *lines, "phases: {build: {commands: [make]}}"))


def phase_of(plan: Plan, phase: PhaseType = PhaseType.BUILD) -> PhasePlan:
    return next(item for item in plan.phases if item.phase is phase)


def phase_with(*lines: str) -> str:
    return "\n".join(("version: 0.2", "phases:", "  build:", *(f"    {line}" for line in lines)))


def invalid(text: str) -> BuildspecInvalid:
    with pytest.raises(BuildspecInvalid) as caught:
        plan_of(text)
    return caught.value
