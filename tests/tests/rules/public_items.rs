//! Every public item has a doc, every type an example and a `Debug`, and so has every method of the types that applications
//! use most. rustdoc's JSON lists the items; it is unstable, so rustdoc alone is asked for it, by a wrapper, and the rest of
//! the build is the usual one.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use serde_json::Value;

/// Crates whose items count, wherever they are re-exported.
const CRATES: [&str; 8] = [
    "aioproducer",
    "aioproducer-core",
    "aioproducer-driver",
    "aioproducer-history",
    "aioproducer-rdkafka",
    "aioproducer-sim",
    "aioproducer-smol",
    "aioproducer-tokio",
];

/// Those that an application names; of the others, what these re-export.
const FRONT_DOORS: [&str; 7] = [
    "aioproducer",
    "aioproducer-driver",
    "aioproducer-history",
    "aioproducer-rdkafka",
    "aioproducer-sim",
    "aioproducer-smol",
    "aioproducer-tokio",
];

/// Features of the first crate that has them, so that what they add is seen, too.
const FEATURES: [&str; 4] = [
    "aioproducer-driver/metrics",
    "aioproducer-driver/tracing",
    "aioproducer-rdkafka/embedded-broker",
    "aioproducer-tokio/rdkafka",
];

/// Types each of whose methods has an example.
const SHOWN: [&str; 4] = ["AioProducer", "Builder", "Delivery", "Transaction"];

/// Fewer items than there are by far: a sign that the JSON was not understood.
const AT_LEAST: usize = 300;

/// The version of the JSON that this was written for; others are read if they can be.
const FORMAT: u64 = 57;

/// Asks rustdoc for JSON, into a folder of its own, so that the pages of `cargo doc` stay.
const WRAPPER: &str = r#"#!/bin/sh
n=$#
last=
while [ "$n" -gt 0 ]; do
    next=$1
    shift
    case $last in -o | --out-dir) next=$PUBLIC_ITEMS_OUT ;; esac
    set -- "$@" "$next"
    last=$next
    n=$((n - 1))
done
RUSTC_BOOTSTRAP=1 exec "${PUBLIC_ITEMS_RUSTDOC:-rustdoc}" "$@" -Z unstable-options --output-format json
"#;

/// The JSON of each crate of [`CRATES`] that the workspace has, by the name that Rust code has for it; or why there is none.
fn documented() -> Result<BTreeMap<String, Value>, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("public-items");
    let _ = fs::remove_dir_all(&out);
    fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    let wrapper = out.join("rustdoc.sh");
    fs::write(&wrapper, WRAPPER).map_err(|error| error.to_string())?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).map_err(|error| error.to_string())?;
    }
    let mut metadata = cargo_metadata::MetadataCommand::new();
    let metadata =
        metadata.manifest_path(root.join("Cargo.toml")).no_deps().exec().map_err(|error| error.to_string())?;
    let there = |name: &&str| metadata.workspace_packages().iter().any(|package| package.name.as_str() == *name);
    let packages: Vec<_> = CRATES.into_iter().filter(there).collect();

    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).args(["doc", "--no-deps", "--lib", "--features", &FEATURES.join(",")]);
    cargo.args(packages.iter().flat_map(|package| ["-p", package]));
    // With a name that is new each time, cargo does not take what it made before for this.
    cargo.env("RUSTDOCFLAGS", format!("--cfg public_items_{}", std::process::id()));
    if let Some(rustdoc) = env::var_os("RUSTDOC") {
        cargo.env("PUBLIC_ITEMS_RUSTDOC", rustdoc);
    }
    cargo.env("RUSTDOC", &wrapper).env("PUBLIC_ITEMS_OUT", &out);
    let made = cargo.output().map_err(|error| format!("cargo: {error}"))?;
    if !made.status.success() {
        return Err(format!("rustdoc makes no JSON: {}", String::from_utf8_lossy(&made.stderr)));
    }
    let read = |package: &str| {
        let name = package.replace('-', "_");
        let text = fs::read(out.join(format!("{name}.json"))).map_err(|error| format!("{name}.json: {error}"))?;
        let json: Value = serde_json::from_slice(&text).map_err(|error| format!("{name}.json: {error}"))?;
        Ok((name, json))
    };
    packages.into_iter().map(read).collect()
}

/// What is wrong, by item.
struct Look<'a> {
    crates: &'a BTreeMap<String, Value>,
    seen: BTreeSet<(String, String)>,
    items: usize,
    examples: usize,
    missing: Vec<String>,
}

impl<'a> Look<'a> {
    fn item(&self, home: &str, id: &Value) -> Option<&'a Value> {
        self.crates[home]["index"].get(id.to_string())
    }

    /// Where an item that `home` names by `id` is defined, if that is in one of our crates: the crate, and its own id there.
    fn resolve(&self, home: &str, id: &Value) -> Option<(String, Value)> {
        if self.item(home, id).is_some() {
            return Some((home.to_owned(), id.clone()));
        }
        let path = self.crates[home]["paths"].get(id.to_string())?["path"].clone();
        let owner = path[0].as_str()?.to_owned();
        let paths = self.crates.get(&owner)?["paths"].as_object()?;
        let own = |summary: &Value| summary["crate_id"] == 0 && summary["path"] == path;
        let found = paths.iter().find(|(_, summary)| own(summary))?.0;
        Some((owner, found.parse::<u64>().ok()?.into()))
    }

    fn visit(&mut self, home: &str, path: &str, id: &Value) {
        let Some((home, id)) = self.resolve(home, id) else { return };
        let Some(item) = self.item(&home, &id) else { return };
        let home = home.as_str();
        let (kind, inner) = item["inner"].as_object().and_then(|inner| inner.iter().next()).expect("a kind");
        if kind == "use" {
            if inner["is_glob"] == true {
                let Some((home, module)) = self.resolve(home, &inner["id"]) else { return };
                let all = self.item(&home, &module).map(|module| list(&module["inner"]["module"]["items"]));
                all.into_iter().flatten().for_each(|id| self.visit(&home, path, &id));
            } else {
                self.visit(home, path, &inner["id"]);
            }
            return;
        }
        if !self.seen.insert((home.to_owned(), id.to_string())) {
            return;
        }
        let name = item["name"].as_str().unwrap_or_default();
        let path = if path.is_empty() { home.to_owned() } else { format!("{path}::{name}") };
        self.items += 1;
        let docs = item["docs"].as_str().unwrap_or_default();
        if docs.trim().is_empty() {
            self.missing.push(format!("{path}: no doc"));
        }
        match kind.as_str() {
            "module" => list(&inner["items"]).iter().for_each(|id| self.visit(home, &path, id)),
            "struct" | "enum" | "union" => {
                self.example(&path, docs);
                self.parts(home, &path, inner);
                self.impls(home, &path, name, &inner["impls"]);
            }
            "trait" => {
                self.example(&path, docs);
                list(&inner["items"]).iter().for_each(|id| self.visit(home, &path, id));
            }
            "type_alias" => self.example(&path, docs),
            "variant" => self.parts(home, &path, inner),
            _ => {}
        }
    }

    /// Public fields and variants; those of a tuple need no doc of their own.
    fn parts(&mut self, home: &str, path: &str, inner: &Value) {
        let kind = &inner["kind"];
        for parts in [&inner["variants"], &kind["plain"]["fields"], &kind["struct"]["fields"]] {
            list(parts).iter().for_each(|id| self.visit(home, path, id));
        }
    }

    /// A type's own methods, and whether it has a `Debug`.
    fn impls(&mut self, home: &str, path: &str, name: &str, impls: &Value) {
        let mut has_debug = false;
        for id in list(impls) {
            let Some(block) = self.item(home, &id).map(|block| &block["inner"]["impl"]) else { continue };
            if let Some(implemented) = block["trait"].as_object() {
                let full = implemented.get("path").or_else(|| implemented.get("name")).and_then(Value::as_str);
                has_debug |= full.is_some_and(|full| full.rsplit("::").next() == Some("Debug"));
                continue;
            }
            for id in list(&block["items"]) {
                let Some(method) = self.item(home, &id).filter(|item| item["visibility"] == "public") else { continue };
                self.visit(home, path, &id);
                if SHOWN.contains(&name) && method["inner"].get("function").is_some() {
                    let method_name = method["name"].as_str().unwrap_or_default();
                    self.example(&format!("{path}::{method_name}"), method["docs"].as_str().unwrap_or_default());
                }
            }
        }
        if !has_debug {
            self.missing.push(format!("{path}: no Debug"));
        }
    }

    fn example(&mut self, path: &str, docs: &str) {
        if has_example(docs) {
            self.examples += 1;
        } else {
            self.missing.push(format!("{path}: no example that compiles"));
        }
    }
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// Whether there is a block of Rust that `cargo test` compiles.
fn has_example(docs: &str) -> bool {
    let fences = docs.lines().filter_map(|line| line.trim_start().strip_prefix("```"));
    // Every other fence ends a block.
    fences.step_by(2).any(|words| {
        let mut words = words.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.all(|word| word == "rust" || word == "no_run" || word == "should_panic" || word.starts_with("edition"))
    })
}

#[test]
fn every_public_item_has_a_doc_an_example_and_a_debug() {
    let crates = match documented() {
        Ok(crates) => crates,
        Err(why) => {
            // Where it has to be checked it is not skipped.
            assert!(env::var_os("CI").is_none(), "{why}");
            // Unlike `println!`, this is seen though the test passes.
            let _ = writeln!(std::io::stderr(), "SKIPPED public items: {why}");
            return;
        }
    };
    let mut look = Look { crates: &crates, seen: BTreeSet::new(), items: 0, examples: 0, missing: Vec::new() };
    for package in FRONT_DOORS {
        let home = package.replace('-', "_");
        let Some(json) = crates.get(&home) else { continue };
        if json["format_version"] != FORMAT {
            println!("rustdoc's JSON has version {} instead of {FORMAT}", json["format_version"]);
        }
        look.visit(&home, "", &json["root"]);
    }
    look.missing.sort_unstable();
    println!("{} public items, {} examples", look.items, look.examples);
    assert!(look.items >= AT_LEAST, "{} items only: is rustdoc's JSON of another form?", look.items);
    assert!(look.missing.is_empty(), "{} are missing:\n{}", look.missing.len(), look.missing.join("\n"));
}

#[test]
fn an_example_is_a_block_of_rust_that_is_compiled() {
    let compiled = ["```\nx\n```", "text\n```rust\nx\n```", "```text\nx\n```\n\n```no_run\nx\n```"];
    let others = ["", "text", "```text\nx\n```", "```ignore\nx\n```", "```compile_fail\nx\n```\nafter"];
    assert!(compiled.into_iter().all(has_example) && !others.into_iter().any(has_example));
}
