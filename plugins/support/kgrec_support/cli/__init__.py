"""What is a command of its own, since it is a conversation and no request."""
