//! The rule of `ARCHITECTURE.md` about imports inside a crate: rooms know only lower rooms, and no circle of files has more than
//! two.
//!
//! It reads the paths that begin with `crate`, `self`, `super` or a module's own child, in `use` and elsewhere. A name that another
//! module re-exports counts as an import of the file that it comes from. Test code does not count.

mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use aioproducer_tests::sources::root;

use self::tokens::{Token, behind_group, tokens, without_tests};

/// The most files in a circle.
const LARGEST_CIRCLE: usize = 2;

/// The crates, and their rooms from low to high: folders and files beside `lib.rs`, which is above all of them.
const CRATES: [(&str, &[&str]); 7] = [
    (
        "core/src",
        &[
            "time",
            "action",
            "record",
            "slot",
            "ended",
            "batch",
            "overflow",
            "limits",
            "storage",
            "lanes",
            "flushes",
            "pool",
            "timers",
            "transaction",
            "producer",
            "backend",
        ],
    ),
    ("adapters/driver/src", &["runtime", "record", "observe", "outcome", "admission", "callbacks", "state", "api"]),
    (
        "rdkafka-backend/src",
        &[
            "failure",
            "catch_panic",
            "topic_name",
            "coordination",
            "partition",
            "config",
            "oauth",
            "events",
            "ffi",
            "reports",
            "renewal",
            "threads",
            "opening",
            "backend",
            "embedded",
        ],
    ),
    (
        "adapters/history/src",
        &["payload", "topics", "handles", "calls", "history", "log", "anomaly", "finding", "verdict", "allow", "check"],
    ),
    ("adapters/tokio/src", &[]),
    ("adapters/smol/src", &[]),
    (
        "adapters/sim/src",
        &[
            "sync", "rng", "fnv", "signal", "waiters", "chaos", "log", "journal", "cluster", "client", "api",
            "executor", "check",
        ],
    ),
];

/// Sources by their path below `src`.
type Sources = BTreeMap<String, String>;

/// A module's path from the crate's root.
type Module = Vec<String>;

/// A file, read.
struct File {
    name: String,
    module: Module,
    tokens: Vec<Token>,
    /// What it declares with `mod name;`, each with the file that an attribute names.
    children: Vec<(String, Option<String>)>,
}

/// `mod name;` and the path of an attribute before it.
fn children(tokens: &[Token]) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    for index in 0..tokens.len() {
        let (Some(name), true) = (tokens.get(index + 1).and_then(Token::word), tokens[index].is("mod")) else {
            continue;
        };
        if !tokens.get(index + 2).is_some_and(|token| token.is_sign(';')) {
            continue;
        }
        // Attributes stand right before it, or before its visibility.
        let before = &tokens[..index];
        let item = before.iter().rposition(|token| matches!(token, Token::Sign(';' | '}'))).map_or(0, |at| at + 1);
        let path = before[item..].windows(3).find_map(|three| match three {
            [path, Token::Sign('='), Token::Text(file)] if path.is("path") => Some(file.clone()),
            _ => None,
        });
        found.push((name.to_owned(), path));
    }
    found
}

/// The files of a crate that are not for tests, as `mod` declares them from `lib.rs` on.
fn files(sources: &Sources) -> Vec<File> {
    let mut found: Vec<File> = Vec::new();
    let mut open = vec![("lib.rs".to_owned(), Module::new())];
    while let Some((name, module)) = open.pop() {
        let Some(source) = sources.get(&name) else { continue };
        let tokens = without_tests(&tokens(source));
        let children = children(&tokens);
        for (child, path) in &children {
            let module = [&module[..], std::slice::from_ref(child)].concat();
            let plain = module.join("/");
            open.push((format!("{plain}.rs"), module.clone()));
            open.push((format!("{plain}/mod.rs"), module.clone()));
            if let Some(path) = path {
                let folder = name.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
                open.push((format!("{folder}{path}"), module));
            }
        }
        found.push(File { name, module, tokens, children });
    }
    found
}

/// A path as it is written, absolute, and the name that it gets.
struct Import {
    path: Module,
    name: String,
    is_reexport: bool,
}

/// A crate's modules and what they re-export.
struct Graph<'a> {
    files: &'a [File],
    modules: BTreeMap<&'a [String], Vec<&'a str>>,
    reexports: BTreeMap<(Module, String), Module>,
}

/// Makes a path absolute; `None` if it leads out of the crate.
fn absolute(file: &File, inline: &[String], path: &[String]) -> Option<Module> {
    let mut module = [&file.module[..], inline].concat();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => {
            module.clear();
            rest = &path[1..];
        }
        "self" => rest = &path[1..],
        "super" => {
            while rest.first().is_some_and(|first| first == "super") {
                module.pop();
                rest = &rest[1..];
            }
        }
        first if file.children.iter().any(|(child, _)| child == first) && inline.is_empty() => {}
        _ => return None,
    }
    module.extend_from_slice(rest);
    Some(module)
}

/// The paths of a use tree that begins at `index`, and the index behind it.
fn use_tree(tokens: &[Token], mut index: usize, prefix: &[String], found: &mut Vec<(Module, String)>) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(index) {
            Some(Token::Sign(':')) => index += 1,
            Some(Token::Sign('*')) => {
                found.push((path, "*".to_owned()));
                return index + 1;
            }
            Some(Token::Sign('{')) => {
                let end = behind_group(tokens, index);
                index += 1;
                while index < end - 1 {
                    index = use_tree(tokens, index, &path, found);
                    index += usize::from(tokens[index].is_sign(','));
                }
                return end;
            }
            Some(Token::Word(word)) if word == "as" => {
                let name = tokens.get(index + 1).and_then(Token::word).unwrap_or_default();
                found.push((path, name.to_owned()));
                return index + 2;
            }
            // `a::{self}` is `a`.
            Some(Token::Word(word)) if word == "self" && !path.is_empty() => index += 1,
            Some(Token::Word(word)) => {
                path.push(word.clone());
                index += 1;
            }
            _ => {
                let name = path.last().cloned().unwrap_or_default();
                found.push((path, name));
                return index;
            }
        }
    }
}

/// What a file imports or names by a path.
fn imports(file: &File) -> Vec<Import> {
    let tokens = &file.tokens;
    let (mut found, mut inline, mut index) = (Vec::new(), Vec::<(String, usize)>::new(), 0);
    while index < tokens.len() {
        inline.retain(|(_, end)| index < *end);
        let modules: Vec<String> = inline.iter().map(|(name, _)| name.clone()).collect();
        let Some(word) = tokens[index].word() else {
            index += 1;
            continue;
        };
        let is_path = tokens.get(index + 1).is_some_and(|token| token.is_sign(':'))
            && tokens.get(index + 2).is_some_and(|token| token.is_sign(':'))
            && !(index > 0 && (tokens[index - 1].is_sign(':') || tokens[index - 1].is("in")));
        if word == "mod"
            && let Some(Token::Word(name)) = tokens.get(index + 1)
            && tokens.get(index + 2).is_some_and(|token| token.is_sign('{'))
        {
            inline.push((name.clone(), behind_group(tokens, index + 2)));
            index += 3;
        } else if word == "use" {
            let is_reexport = index > 0 && (tokens[index - 1].is("pub") || tokens[index - 1].is_sign(')'));
            let mut paths = Vec::new();
            index = use_tree(tokens, index + 1, &[], &mut paths);
            found.extend(
                paths.into_iter().filter_map(|(path, name)| {
                    Some(Import { path: absolute(file, &modules, &path)?, name, is_reexport })
                }),
            );
        } else if is_path {
            let mut path = vec![word.to_owned()];
            index += 1;
            while let [Token::Sign(':'), Token::Sign(':'), Token::Word(next), ..] = &tokens[index..] {
                path.push(next.clone());
                index += 3;
            }
            let path = absolute(file, &modules, &path);
            found.extend(path.map(|path| Import { path, name: String::new(), is_reexport: false }));
        } else {
            index += 1;
        }
    }
    found
}

impl<'a> Graph<'a> {
    fn new(files: &'a [File]) -> Self {
        let mut modules: BTreeMap<&[String], Vec<&str>> = BTreeMap::new();
        for file in files {
            modules.entry(&file.module).or_default().push(&file.name);
        }
        let mut reexports = BTreeMap::new();
        for file in files {
            for import in imports(file).into_iter().filter(|import| import.is_reexport) {
                reexports.insert((file.module.clone(), import.name), import.path);
            }
        }
        Self { files, modules, reexports }
    }

    /// The files that a path leads to.
    fn resolve(&self, path: &[String], depth: usize) -> Vec<&'a str> {
        let mut module = Module::new();
        for (index, segment) in path.iter().enumerate() {
            let below = [&module[..], std::slice::from_ref(segment)].concat();
            if self.modules.contains_key(&below[..]) {
                module = below;
                continue;
            }
            match self.reexports.get(&(module.clone(), segment.clone())) {
                Some(target) if depth > 0 => {
                    return self.resolve(&[&target[..], &path[index + 1..]].concat(), depth - 1);
                }
                _ => break,
            }
        }
        self.modules.get(&module[..]).cloned().unwrap_or_default()
    }

    /// The arrows between files.
    fn arrows(&self) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
        let mut arrows = BTreeMap::new();
        for file in self.files {
            let known: &mut BTreeSet<&str> = arrows.entry(&file.name[..]).or_default();
            for import in imports(file) {
                // To pass a name on is not to know it.
                let uses = file.tokens.iter().filter(|token| token.is(&import.name)).count();
                if import.is_reexport && uses <= 1 {
                    continue;
                }
                known.extend(self.resolve(&import.path, 8).into_iter().filter(|target| *target != file.name));
            }
        }
        arrows
    }
}

/// The room of a file: its folder, or its own name. `None` for `lib.rs`.
fn room(file: &str) -> Option<&str> {
    if file == "lib.rs" { None } else { file.split(['/', '.']).next() }
}

/// What is wrong with a crate's imports.
fn faults(sources: &Sources, rooms: &[&str]) -> Vec<String> {
    let files = files(sources);
    let arrows = Graph::new(&files).arrows();
    let level = |file: &str| match room(file) {
        None => rooms.len(),
        Some(room) => rooms.iter().position(|known| *known == room).unwrap_or(usize::MAX),
    };
    let mut faults = Vec::new();
    for file in arrows.keys().filter(|file| level(file) == usize::MAX) {
        faults.push(format!("{file} is in no room of the table"));
    }
    for (from, targets) in &arrows {
        for to in targets.iter().filter(|to| level(from) < level(to)) {
            faults.push(format!("{from} imports from a higher room: {to}"));
        }
    }
    faults.extend(
        circles(&arrows).into_iter().map(|circle| format!("a circle of {}: {}", circle.len(), circle.join(", "))),
    );
    faults
}

/// Files that import each other, directly or through others, if there are more than [`LARGEST_CIRCLE`] of them.
fn circles<'a>(arrows: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<Vec<&'a str>> {
    let reached = |from: &'a str| {
        let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(file) = open.pop() {
            open.extend(arrows[file].iter().filter(|next| reached.insert(**next)));
        }
        reached
    };
    let reaches: BTreeMap<&str, BTreeSet<&str>> = arrows.keys().map(|file| (*file, reached(file))).collect();
    let circle = |file: &&'a str| -> Vec<&'a str> {
        let others = reaches[file].iter().filter(|other| reaches[**other].contains(file));
        others.copied().collect()
    };
    arrows.keys().map(circle).filter(|circle| circle.len() > LARGEST_CIRCLE).collect()
}

fn read(folder: &Path, below: &str, sources: &mut Sources) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            read(&entry.path(), &format!("{name}/"), sources);
        } else if name.ends_with(".rs") {
            sources.insert(name, fs::read_to_string(entry.path()).expect("a source"));
        }
    }
}

#[test]
fn rooms_know_only_lower_rooms_and_no_circle_has_more_than_two_files() {
    let mut all = Vec::new();
    for (folder, rooms) in CRATES {
        let mut sources = Sources::new();
        read(&root().join(folder), "", &mut sources);
        assert!(sources.contains_key("lib.rs"), "{folder} has no lib.rs");
        let found = files(&sources).len();
        assert!(found >= rooms.len(), "{folder}: only {found} files were found");
        all.extend(faults(&sources, rooms).into_iter().map(|fault| format!("{folder}: {fault}")));
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

fn sources<const N: usize>(files: [(&str, &str); N]) -> Sources {
    files.map(|(name, text)| (name.to_owned(), text.to_owned())).into()
}

#[test]
fn a_circle_of_three_files_is_found_and_one_of_two_is_fine() {
    let two = [
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::b::B;"),
        ("b.rs", "use super::a; pub struct B;"),
        ("c.rs", "use crate::{a::A, b};"),
    ];
    let rooms = ["a", "b", "c"];
    let upward = "a.rs imports from a higher room: b.rs".to_owned();
    assert_eq!(faults(&sources(two), &rooms), std::slice::from_ref(&upward));
    let mut three = sources(two);
    three.insert("b.rs".into(), "use super::a; fn f() { let _ = crate::c::C; }".into());
    let found = faults(&three, &rooms);
    assert_eq!(
        found,
        [upward, "b.rs imports from a higher room: c.rs".into(), "a circle of 3: a.rs, b.rs, c.rs".into()]
    );
}

#[test]
fn a_wrong_arrow_is_found_however_it_is_written() {
    let rooms = ["low", "high"];
    let with = |low: &str| {
        faults(
            &sources([
                ("lib.rs", "mod low; mod high; pub use high::inner::Thing;"),
                ("low/mod.rs", "mod file;"),
                ("low/file.rs", low),
                ("high/mod.rs", "pub(crate) mod inner; pub(crate) use self::inner::{Thing, Other as Renamed};"),
                ("high/inner.rs", "pub struct Thing; pub struct Other;"),
            ]),
            &rooms,
        )
    };
    let wrong = ["low/file.rs imports from a higher room: high/inner.rs"];
    for low in [
        "use crate::high::inner::Thing;",
        "use crate::high::{self, inner::{Thing, Other}};",
        "use crate::high::Thing as Own;",
        "use crate::high::Renamed;",
        "use crate::Thing;",
        "use super::super::high::inner;",
        "fn f(_: &crate::high::inner::Thing) {}",
        "mod inside { use super::super::super::high::Thing; }",
        "fn f() -> Box<dyn Fn(crate::Thing)> { todo!() }",
        "#[cfg(not(test))] use crate::Thing;",
        "const C: char = '\"'; fn f<'a>(_: &'a u8) {} use crate::Thing;",
        "/* a /* nested */ comment */ const S: &str = r#\"a \" text\"#; use crate::Thing;",
    ] {
        assert!(with(low).iter().any(|fault| wrong.contains(&fault.as_str())), "{low}: {:?}", with(low));
    }
    for fine in [
        "// use crate::Thing;",
        "/// [`Thing`](crate::high::inner::Thing)\nstruct S;",
        "const S: &str = \"crate::Thing\"; const C: char = '\\'';",
        "use std::fmt; use super::file; pub(crate) struct S; fn f(self) { self.x() }",
        "#[cfg(test)] mod tests { use crate::Thing; }",
        "#[cfg(all(test, not(interleave)))]\nmod tests { use crate::Thing; }",
        "#[cfg(test)] use crate::Thing;",
        "#[test] fn t() { crate::Thing; }",
        "pub(in crate::low) struct S;",
    ] {
        assert_eq!(with(fine), [""; 0], "{fine}");
    }
}

#[test]
fn a_name_that_is_only_passed_on_is_no_import_and_each_variant_of_a_module_counts() {
    let mut crate_of = sources([
        ("lib.rs", "mod low; mod high;"),
        (
            "low/mod.rs",
            "#[cfg_attr(not(feature = \"x\"), path = \"no_meters.rs\")]\nmod meters;\npub(crate) use self::meters::M;",
        ),
        ("low/meters.rs", "use super::helper; pub struct M;"),
        ("low/no_meters.rs", "pub struct M;"),
        ("high.rs", "use crate::low::M;"),
    ]);
    assert_eq!(faults(&crate_of, &["low", "high"]), [""; 0]);
    crate_of.insert("low/no_meters.rs".into(), "use crate::high;".into());
    let found = faults(&crate_of, &["low", "high"]);
    assert_eq!(found, ["low/no_meters.rs imports from a higher room: high.rs"]);
    assert_eq!(faults(&crate_of, &["low"])[0], "high.rs is in no room of the table");
}

#[test]
fn files_for_tests_do_not_count() {
    let crate_of = sources([
        ("lib.rs", "mod low; mod high; #[cfg(test)] mod helper;"),
        ("low.rs", "#[cfg(all(test, interleave))]\nmod loom_tests;"),
        ("low/loom_tests.rs", "use crate::high::H;"),
        ("helper.rs", "use crate::high::H;"),
        ("high.rs", "use crate::low;"),
    ]);
    assert_eq!(faults(&crate_of, &["low", "high"]), [""; 0]);
}
