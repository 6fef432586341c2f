"""Editions for a projector and for paper: slides and PDF, made from the executed lessons."""
