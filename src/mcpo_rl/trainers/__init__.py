"""Trainers: one folder per engine; siblings never import each other."""
