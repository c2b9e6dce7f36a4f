"""Readings of the journal for people and machines: views, explanations. It writes nothing."""
