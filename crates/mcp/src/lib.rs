//! A small MCP server with real tools, so that a fresh machine has some.
