//! Part of `make bench`: how fast the store of campaigns is. `bench-store [FILE]`: also writes the figures there, as JSON.

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    let figures = trimtab_tests::bench::store::run()?;
    if let Some(path) = std::env::args_os().nth(1) {
        let text = serde_json::to_string_pretty(&figures)?;
        std::fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
