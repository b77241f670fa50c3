//! What is sent.

use std::io::{Read, stdin};
use std::path::{Path, PathBuf};

use anyhow::Context;
use bytes::Bytes;

const JOURNEY: &[u8] = include_bytes!("journey.txt");

/// A text, line by line. The lines share one buffer, and so do the records made of them.
pub(crate) struct Text {
    pub(crate) name: String,
    pub(crate) lines: Vec<Bytes>,
}

impl Text {
    /// Reads a file, standard input (`-`), or the text that comes along.
    pub(crate) fn read(input: Option<PathBuf>) -> anyhow::Result<Self> {
        let (name, bytes) = match input {
            None => ("journey.txt".to_owned(), Bytes::from_static(JOURNEY)),
            Some(path) if path == Path::new("-") => {
                let mut bytes = Vec::new();
                stdin().read_to_end(&mut bytes).context("standard input")?;
                ("standard input".to_owned(), bytes.into())
            }
            Some(path) => {
                let name = path.display().to_string();
                let bytes = std::fs::read(path).with_context(|| name.clone())?;
                (name, bytes.into())
            }
        };
        Ok(Self { name, lines: split(&bytes) })
    }

    /// The length of all lines together.
    pub(crate) fn bytes(&self) -> usize {
        self.lines.iter().map(Bytes::len).sum()
    }
}

/// The last line may lack its line feed; an empty text has no line.
fn split(text: &Bytes) -> Vec<Bytes> {
    text.split_inclusive(|&byte| byte == b'\n')
        .map(|line| text.slice_ref(line.strip_suffix(b"\n").unwrap_or(line)))
        .collect()
}
