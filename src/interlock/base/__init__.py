"""What every block stands on: recording values, durations, identifiers."""
