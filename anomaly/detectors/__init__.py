"""What learns a user, and scores."""
