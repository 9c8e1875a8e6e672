"""The roles, one folder each; they meet over HTTP and import nothing of each other's."""
