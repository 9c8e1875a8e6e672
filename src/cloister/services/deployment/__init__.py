"""A machine's deployment API: has the services run that operators' signed manifests name, and nothing else."""
