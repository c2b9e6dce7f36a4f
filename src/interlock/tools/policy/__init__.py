"""Rights: Cedar policies that say which agent may call which tool with what."""

from interlock.tools.policy.decision import Ask, Decision, Question
from interlock.tools.policy.policies import Policies, load_policies

__all__ = ["Ask", "Decision", "Policies", "Question", "load_policies"]
