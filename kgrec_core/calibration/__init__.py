"""How probable it is that an answer is right, and the threshold that a budget of errors asks for."""
