"""What services share: settings, problem details, health, logs, serving, and lean HTTP/1.1 protocols."""
