"""Responders decide what the emulator answers: a script, or rules (the planner)."""
