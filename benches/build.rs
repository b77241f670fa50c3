//! Builds `raw/loop.c` against the same librdkafka that all other programs here link.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=raw/loop.c");
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let library = PathBuf::from(variable("DEP_RDKAFKA_ROOT")).join("src");
    let program = PathBuf::from(variable("OUT_DIR")).join("raw-loop");
    let compiler = cc::Build::new().opt_level(3).cargo_metadata(false).get_compiler();
    let mut command: Command = compiler.to_command();
    command
        .args(["-Wall", "-Wextra", "-Werror", "-isystem"])
        .arg(&library)
        .arg("raw/loop.c")
        .arg(library.join("librdkafka.a"));
    command.args(["-lz", "-lpthread", "-lm", "-ldl", "-lrt", "-o"]).arg(&program);
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
    println!("cargo:rustc-env=AIOPRODUCER_RAW_LOOP={}", program.display());
}
