"""Simulation of the engine on virtual time, and the faults that it has to survive."""
