//! What documents of the real `trimtab` are held against in every suite.

use anyhow::{Context, Result, bail};
use trimtab_tests::programs;
use trimtab_tests::trimtab::{Document, Ended};

/// The document of a trim, after it was held against docs/schema/trim.json and its own exit code.
pub(crate) fn checked(ended: &Ended) -> Result<Document> {
    let document = ended.document()?;
    let path = programs::rig_file("../docs/schema/trim.json");
    let schema = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let schema = serde_json::from_str(&schema)?;
    let validator = jsonschema::validator_for(&schema).map_err(|error| anyhow::anyhow!("{error}"))?;
    let problems: Vec<String> =
        validator.iter_errors(&document.0).map(|e| format!("{}: {e}", e.instance_path())).collect();
    if !problems.is_empty() {
        bail!("{problems:#?}\n{document}");
    }
    if document.0["exit"] != ended.exit {
        bail!("exit {} and the document says {}", ended.exit, document.0["exit"]);
    }
    Ok(document)
}
