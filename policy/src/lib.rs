//! aaren policy
