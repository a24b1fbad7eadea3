//! What needs root, a kernel, a real server or a real collector.
