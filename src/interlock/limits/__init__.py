"""What a run may take: prices, budgets, the pace of calls, and when a provider is left alone."""
