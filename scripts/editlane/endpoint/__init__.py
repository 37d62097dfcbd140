"""Send requests to servers with OpenAI's HTTP interface. Editors, judges and fleets share it."""
