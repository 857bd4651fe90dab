"""The gateway: MCP clients of both eras on one endpoint, in front of the manager's servers."""
