"""AMD SEV-SNP: endorsement keys, then reports that are authentic, then reports that meet a policy."""
