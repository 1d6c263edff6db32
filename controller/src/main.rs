//! `trimtab`.

fn main() {}
