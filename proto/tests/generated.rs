//! The generated code that is checked in is what the .proto generates. `UPDATE_GENERATED=1` (`make proto`) writes it.

use std::{fs, path::Path};

#[test]
fn generated_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let include = root.join("proto");
    let descriptors = protox::compile([include.join("trimtab/v1/agent.proto")], [&include]).unwrap();
    let out = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .client_mod_attribute("trimtab.v1", "#[cfg(feature = \"client\")]")
        .server_mod_attribute("trimtab.v1", "#[cfg(feature = \"server\")]")
        .build_transport(false)
        .out_dir(out.path())
        .compile_fds(descriptors)
        .unwrap();
    let fresh = fs::read_to_string(out.path().join("trimtab.v1.rs")).unwrap();
    let kept = root.join("src/gen/trimtab.v1.rs");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&kept, &fresh).unwrap();
    }
    assert!(
        fs::read_to_string(&kept).unwrap() == fresh,
        "{} is not what agent.proto generates: run `make proto` and commit the result",
        kept.display()
    );
}
