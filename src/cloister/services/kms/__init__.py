"""The KMS: judges evidence under a contract, logs every release, and only then lets a transport key go."""
