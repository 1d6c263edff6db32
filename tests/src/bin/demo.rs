//! `make demo`: what the product is for, in a guest that is thrown away. Exits with 1 if the images did not shrink.

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    trimtab_tests::demo::run()
}
