//! Files that a configuration names. librdkafka does not say which file it cannot read.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use rdkafka::config::{ClientConfig, NativeClientConfig};

use crate::config::error::ConfigError;
use crate::config::read::value;

/// A key whose value is the path of a file.
struct FileKey {
    key: &'static str,
    /// It may also be a directory of files.
    or_directory: bool,
    /// librdkafka reads the file if the value of this key contains this text.
    read_if: (&'static str, &'static str),
}

const TLS: (&str, &str) = ("security.protocol", "ssl");
const OIDC: (&str, &str) = ("sasl.oauthbearer.method", "oidc");

const FILES: [FileKey; 9] = [
    FileKey { key: "ssl.ca.location", or_directory: true, read_if: TLS },
    FileKey { key: "ssl.certificate.location", or_directory: false, read_if: TLS },
    FileKey { key: "ssl.crl.location", or_directory: true, read_if: TLS },
    FileKey { key: "ssl.key.location", or_directory: false, read_if: TLS },
    FileKey { key: "ssl.keystore.location", or_directory: false, read_if: TLS },
    FileKey { key: "https.ca.location", or_directory: true, read_if: OIDC },
    FileKey { key: "sasl.oauthbearer.assertion.file", or_directory: false, read_if: OIDC },
    FileKey { key: "sasl.oauthbearer.assertion.jwt.template.file", or_directory: false, read_if: OIDC },
    FileKey { key: "sasl.oauthbearer.assertion.private.key.file", or_directory: false, read_if: OIDC },
];

/// With this value librdkafka searches for certificates itself.
const PROBE: &str = "probe";

/// Checks that the files that librdkafka will read are readable.
pub(super) fn check(user: &ClientConfig, read: &NativeClientConfig) -> Result<(), ConfigError> {
    FILES.iter().filter(|file| file.is_read(read)).try_for_each(|file| file.check(user))
}

impl FileKey {
    fn is_read(&self, read: &NativeClientConfig) -> bool {
        let (key, part) = self.read_if;
        value(read, key).is_some_and(|value| value.contains(part))
    }

    fn check(&self, user: &ClientConfig) -> Result<(), ConfigError> {
        // librdkafka strips leading spaces.
        let path = user.get(self.key).map(str::trim_start).unwrap_or_default();
        if path.is_empty() || (self.or_directory && path == PROBE) {
            return Ok(());
        }
        readable(Path::new(path), self.or_directory).map_err(|error| ConfigError::Unreadable {
            key: self.key.into(),
            path: path.into(),
            reason: error.to_string(),
        })
    }
}

fn readable(path: &Path, or_directory: bool) -> std::io::Result<()> {
    if or_directory && path.is_dir() {
        return fs::read_dir(path).map(drop);
    }
    // A directory can be opened but not read.
    File::open(path)?.read(&mut [0]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s33_a_file_that_cannot_be_read_is_named() {
        let [ca, certificate] = [&FILES[0], &FILES[1]];
        let folder = std::env::temp_dir();
        let here = std::env::current_exe().expect("a file");
        let check = |file: &FileKey, path: &str| {
            let mut config = ClientConfig::new();
            config.set(file.key, path);
            file.check(&config).err().map(|error| error.to_string())
        };
        let paths = [folder.to_str().expect("text"), here.to_str().expect("text"), PROBE, "", " "];
        for path in paths {
            assert_eq!(check(ca, path), None, "{path}");
        }
        assert_eq!(check(certificate, paths[1]), None);
        for (file, path) in [(ca, "/no/such/ca.pem"), (certificate, "/no/such/cert.pem"), (certificate, paths[0])] {
            let text = check(file, path).expect("it cannot be read");
            assert!(text.contains(file.key) && text.contains(path) && text.contains("os error"), "{text}");
        }
        assert!(check(certificate, PROBE).is_some(), "it has no meaning for the client's own certificate");
    }

    #[test]
    fn s33_files_are_checked_only_if_librdkafka_reads_them() {
        let plain = crate::config::native(&ClientConfig::new()).expect("no key");
        assert!(FILES.iter().all(|file| !file.is_read(&plain)));
    }
}
