//! The rules of `ARCHITECTURE.md` on dependencies between packages, and on where `unsafe` may be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

/// The packages of the workspace, each with the others that it may depend on in any way.
const ALLOWED: [(&str, &[&str]); 10] = [
    ("aioproducer-core", &[]),
    ("aioproducer-driver", &["aioproducer-core"]),
    ("aioproducer-history", &["aioproducer-core"]),
    ("aioproducer-rdkafka", &["aioproducer-core"]),
    ("aioproducer-tokio", &["aioproducer-core", "aioproducer-driver", "aioproducer-rdkafka"]),
    ("aioproducer-smol", &["aioproducer-core", "aioproducer-driver", "aioproducer-rdkafka"]),
    // A runtime is for its tests.
    ("aioproducer-sim", &["aioproducer-core", "aioproducer-driver", "aioproducer-history", "aioproducer-tokio"]),
    (
        "aioproducer",
        &[
            "aioproducer-core",
            "aioproducer-driver",
            "aioproducer-history",
            "aioproducer-rdkafka",
            "aioproducer-tokio",
            "aioproducer-smol",
            "aioproducer-sim",
        ],
    ),
    ("aioproducer-tests", EVERYTHING),
    ("aioproducer-benches", EVERYTHING),
];

const EVERYTHING: &[&str] = &[
    "aioproducer",
    "aioproducer-core",
    "aioproducer-driver",
    "aioproducer-history",
    "aioproducer-rdkafka",
    "aioproducer-tokio",
    "aioproducer-smol",
    "aioproducer-sim",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

fn metadata() -> Metadata {
    let mut command = MetadataCommand::new();
    command.manifest_path(root().join("Cargo.toml")).exec().expect("cargo metadata")
}

fn workspace(metadata: &Metadata) -> BTreeMap<&str, &Package> {
    metadata.workspace_packages().into_iter().map(|package| (package.name.as_str(), package)).collect()
}

/// A runtime, or a part of one.
fn is_runtime(name: &str) -> bool {
    name.starts_with("tokio") || name.starts_with("async-") || ["smol", "futures-executor"].contains(&name)
}

fn is_backend(name: &str) -> bool {
    name.starts_with("rdkafka") || name.starts_with("librdkafka")
}

/// The dependencies of `package` except those of its tests.
fn named(package: &Package) -> BTreeSet<&str> {
    let used = package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
    used.map(|dependency| dependency.name.as_str()).collect()
}

/// All transitive dependencies of `package`.
fn closure(metadata: &Metadata, package: &Package) -> BTreeSet<String> {
    let resolve = metadata.resolve.as_ref().expect("resolved dependencies");
    let nodes: BTreeMap<&PackageId, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let (mut found, mut open) = (BTreeSet::new(), vec![&package.id]);
    while let Some(id) = open.pop() {
        for dependency in &nodes[id].deps {
            let used = dependency.dep_kinds.iter().any(|kind| {
                kind.kind != DependencyKind::Development
                    && kind.target.as_ref().is_none_or(|target| !target.to_string().contains("loom"))
            });
            if used && found.insert(metadata[&dependency.pkg].name.to_string()) {
                open.push(&dependency.pkg);
            }
        }
    }
    found
}

#[test]
fn packages_of_the_workspace_depend_only_on_what_they_may() {
    let metadata = metadata();
    let packages = workspace(&metadata);
    for name in packages.keys() {
        assert!(ALLOWED.iter().any(|(known, _)| known == name), "{name} needs a rule here");
    }
    for (name, allowed) in ALLOWED {
        let package = packages.get(name).unwrap_or_else(|| panic!("{name} is gone"));
        for dependency in package.dependencies.iter().map(|dependency| dependency.name.as_str()) {
            let fine = !packages.contains_key(dependency) || dependency == name || allowed.contains(&dependency);
            assert!(fine, "{name} must not depend on {dependency}");
        }
    }
}

#[test]
fn the_core_depends_on_heapless_alone() {
    let metadata = metadata();
    let core = workspace(&metadata)["aioproducer-core"];
    assert_eq!(named(core), BTreeSet::from(["heapless"]));
    let all = closure(&metadata, core);
    assert!(all.contains("heapless"));
    assert!(!all.iter().any(|name| is_runtime(name) || is_backend(name)), "{all:?}");
}

#[test]
fn the_history_checker_depends_on_the_core_alone() {
    let metadata = metadata();
    assert_eq!(named(workspace(&metadata)["aioproducer-history"]), BTreeSet::from(["aioproducer-core"]));
}

#[test]
fn the_driver_brings_neither_a_runtime_nor_a_backend() {
    let metadata = metadata();
    let all = closure(&metadata, workspace(&metadata)["aioproducer-driver"]);
    assert!(all.contains("aioproducer-core"));
    assert!(!all.iter().any(|name| is_runtime(name) || is_backend(name)), "{all:?}");
}

#[test]
fn the_simulation_brings_neither_a_runtime_nor_a_backend_and_starts_no_thread() {
    let metadata = metadata();
    let all = closure(&metadata, workspace(&metadata)["aioproducer-sim"]);
    assert!(all.contains("aioproducer-driver"));
    assert!(!all.iter().any(|name| is_runtime(name) || is_backend(name) || name.starts_with("rand")), "{all:?}");
    let mut files = Vec::new();
    sources(&root().join("adapters/sim/src"), &mut files);
    assert!(files.len() > 10, "the sources were found");
    for file in files {
        let text = fs::read_to_string(&file).expect("a source");
        for word in ["thread::spawn", "thread::Builder", "std::net", "collections::Hash", "HashMap::", "RandomState"] {
            assert!(!text.contains(word), "{} has {word}", file.display());
        }
        // Runs are on threads, but in a run there is none.
        let is_jobs = file.ends_with("check/jobs.rs");
        assert!(is_jobs || !text.contains("thread::scope"), "{} starts threads", file.display());
    }
}

#[test]
fn the_backend_brings_no_runtime() {
    let metadata = metadata();
    let backend = workspace(&metadata)["aioproducer-rdkafka"];
    let names = named(backend);
    assert!(names.contains("rdkafka"));
    assert!(!names.iter().any(|name| is_runtime(name)), "{names:?}");
    // rdkafka's default features bring tokio.
    let tokio: BTreeSet<_> = ["default", "tokio", "naive-runtime", "futures-executor"].into();
    for dependency in backend.dependencies.iter().filter(|dependency| dependency.name == "rdkafka") {
        let asked: Vec<_> = dependency.features.iter().filter(|feature| tokio.contains(feature.as_str())).collect();
        assert!(!dependency.uses_default_features && asked.is_empty(), "rdkafka's {asked:?}");
    }
}

#[test]
fn the_adapters_bring_their_own_runtime_and_the_backend_by_a_feature() {
    let metadata = metadata();
    let packages = workspace(&metadata);
    for (adapter, own, other) in [("aioproducer-tokio", "tokio", "smol"), ("aioproducer-smol", "smol", "tokio")] {
        let names = named(packages[adapter]);
        assert!(names.contains("aioproducer-driver") && names.contains(own) && !names.contains(other), "{names:?}");
        let backends =
            packages[adapter].dependencies.iter().filter(|dependency| dependency.name == "aioproducer-rdkafka");
        for backend in backends.filter(|dependency| dependency.kind == DependencyKind::Normal) {
            assert!(backend.optional && !backend.uses_default_features, "{adapter}");
        }
    }
}

#[test]
fn what_only_this_workspace_uses_is_not_published() {
    let metadata = metadata();
    for name in ["aioproducer-tests", "aioproducer-benches"] {
        assert_eq!(workspace(&metadata)[name].publish, Some(Vec::new()), "{name}");
    }
}

/// All Rust sources except build products.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            if !["target", ".git"].iter().any(|skipped| name == *skipped) {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Whether a line of code, comments aside, has the word `unsafe`.
fn has_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let mut words = code.split(|character: char| !(character.is_alphanumeric() || character == '_'));
    words.any(|word| word == "unsafe")
}

#[test]
fn unsafe_code_is_in_one_folder() {
    let root = root();
    let ffi = root.join("rdkafka-backend/src/ffi");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 50, "the sources were found");
    let own = Path::new(file!()).file_name();
    let mut inside = 0;
    for file in files {
        let text = fs::read_to_string(&file).expect("a source");
        let hits = text.lines().filter(|line| has_unsafe(line)).count();
        if file.starts_with(&ffi) {
            inside += hits;
        } else if file.file_name() != own && !file.starts_with(root.join("checks")) {
            assert_eq!(hits, 0, "{}", file.display());
        }
    }
    assert!(inside > 0, "and there it was found");
}

#[test]
fn no_other_crate_can_have_unsafe_code() {
    let metadata = metadata();
    for package in workspace(&metadata).values() {
        let name = package.name.as_str();
        let library = package.targets.iter().find(|target| target.is_lib());
        let Some(library) = library else { continue };
        let text = fs::read_to_string(&library.src_path).expect("a source");
        if !["aioproducer-rdkafka", "aioproducer-tests", "aioproducer-benches"].contains(&name) {
            assert!(text.lines().any(|line| line == "#![forbid(unsafe_code)]"), "{name} does not forbid it");
        }
    }
}

/// The names that a source exports by `pub use`: `*` for all of a glob.
fn exported(source: &str) -> BTreeSet<String> {
    let uses = source.split("pub use ").skip(1).map(|rest| rest.split(';').next().unwrap_or_default());
    let parts = uses.flat_map(|path| path.split([',', '{', '}']));
    let names = parts.filter_map(|part| part.trim().rsplit("::").next());
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[test]
fn the_facade_names_all_that_driver_and_backend_export_and_nothing_by_a_glob() {
    let source = |file: &str| fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let facade = exported(&source("aioproducer/src/lib.rs"));
    for (file, known) in [("adapters/driver/src/lib.rs", "AioProducer"), ("rdkafka-backend/src/lib.rs", "Librdkafka")] {
        let names = exported(&source(file));
        assert!(names.contains(known), "{file}: {names:?}");
        let missing: Vec<_> = names.difference(&facade).collect();
        assert!(missing.is_empty(), "aioproducer/src/lib.rs does not have {missing:?} of {file}");
    }
    for facade in ["aioproducer", "adapters/tokio", "adapters/smol"] {
        let names = exported(&source(&format!("{facade}/src/lib.rs")));
        assert!(names.contains("AioProducer") && !names.contains("*"), "{facade}: {names:?}");
    }
}

#[test]
fn exported_names_are_read_from_lists_and_single_paths() {
    let source = "pub use a::{\n    B,\n    C, D,\n};\npub use e::F;\nuse g::H;\npub use i::*;\n\
                  pub use {\n    j::{K},\n    l::M,\n};\n";
    assert_eq!(exported(source), ["*", "B", "C", "D", "F", "K", "M"].map(str::to_owned).into());
}
