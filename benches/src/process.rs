//! Measuring in a process of its own: none inherits memory, threads or connections of another.

use std::process::{Command, Stdio};

use serde::de::DeserializeOwned;

use crate::broker::Failure;

/// Runs `command`, which prints one line of JSON.
///
/// # Errors
/// When it fails or prints something else.
pub fn measured<T: DeserializeOwned>(command: &mut Command) -> Result<T, Failure> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
