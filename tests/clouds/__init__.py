"""How the cloud layer takes what services answer: errors, garbage, lost connections, odd releases."""
