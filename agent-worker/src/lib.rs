//! Runs agents: tasks, turns, models, MCP tools, delegation.
