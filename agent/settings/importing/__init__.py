"""Projects of CodeBuild's own, from its answers or from templates, become project files that a person can go over."""
