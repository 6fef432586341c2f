"""The engine: a network compiled to a program, for inference and for training steps."""
