//! aaren agents
