//! `trimtab-agent`.

fn main() {}
