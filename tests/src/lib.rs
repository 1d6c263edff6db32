//! Builders for the suites: a guest VM, a loop disk, a hostile agent. And the demo.
