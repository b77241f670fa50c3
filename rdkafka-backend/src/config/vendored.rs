//! librdkafka's own files, for tests.

/// A file of the librdkafka version that is built along; `None` if it is not available.
pub(super) fn file(path: &str) -> Option<String> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let arguments = ["metadata", "--format-version=1", "--offline", "--manifest-path", manifest];
    let output = std::process::Command::new(env!("CARGO")).args(arguments).output().ok()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    let package = metadata["packages"].as_array()?.iter().find(|package| package["name"] == "rdkafka-sys")?;
    let folder = std::path::Path::new(package["manifest_path"].as_str()?).parent()?.join("librdkafka");
    let text = std::fs::read_to_string(folder.join(path)).ok();
    if text.is_none() {
        println!("SKIPPED: there is no source of librdkafka");
    }
    text
}
