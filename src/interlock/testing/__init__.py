"""A block of Interlock."""
