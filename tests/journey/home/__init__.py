"""What an operator of CodeBuild has around it, for the story of moving home (`tests/journey/test_at_home.py`)."""
