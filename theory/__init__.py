"""The paper as property tests: one file a statement, `test_<number>_<name>.py`, whose docstring is the statement.

strategies    random MDPs, policies, measures and costs that reach the corners
ledger        what was compared, to what tolerance and why, and the largest deviation seen; writes STATEMENTS.md
"""
