"""AgentDojo's suites behind our gateway: labels, policies, scripted callers."""
