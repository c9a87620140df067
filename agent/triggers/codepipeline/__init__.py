"""Jobs of AWS CodePipeline: this agent is the job worker of a custom action (service.md 9)."""
