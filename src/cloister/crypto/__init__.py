"""Thin names over pyca/cryptography; no primitive is ours."""
