"""What a client checks before it encrypts, and before it believes an answer: pure, offline, step by step."""
