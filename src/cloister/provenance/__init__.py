"""Statements about runs, outcomes and answers, made so that nobody can deny them later."""
