//! One word per concept, and words that a native reader understands at once: the words that sources and docs do not use, each
//! with what is written instead.
//!
//! Only files under version control are read. A word that is right in one place goes into `ALLOWED`, with its reason.

use std::fs;
use std::process::Command;

use aioproducer_tests::sources::root;

/// The names of files that are read end in one of these.
const READ: [&str; 9] = [".rs", ".md", ".toml", ".sh", ".c", ".yml", ".xml", "justfile", ".ci/run"];

/// How a word is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// In any case, with or without a plural `s`, also as a part of a name: `ticket` is in `a_ticket` and in `NewTickets`.
    Word,
    /// This text in any case, over the ends of lines, too.
    Phrase,
    /// A name in Rust code, or in backticks.
    Name,
    /// A type that is defined under this name.
    Definition,
    /// A word in a line that is about panics.
    OfPanics,
}

use Form::{Definition, Name, OfPanics, Phrase, Word};

/// What is not written, and what is written instead.
const WORDS: [(Form, &str, &str); 47] = [
    (Word, "told", "`is notified`, `receives`, `knows`"),
    (Word, "lots", "`chunks`"),
    (Word, "nobody", "`no task`, `none`, `no listener`"),
    (Word, "whoever", "`the task`, `the thread`, `the caller`"),
    (Word, "desk", "`InlineWorker`, `FreeList`"),
    (Word, "clerk", "`InlineWorker`"),
    (Word, "shelf", "`FreeList`"),
    (Word, "shelve", "`FreeList`"),
    (Word, "crew", "`Threads`"),
    (Word, "audience", "`EventSinks`"),
    (Word, "outlet", "`EventSink`"),
    (Word, "patience", "`min_deadline`, `wait_limit`, `stall_limit`, `flush_poll`"),
    (Word, "rich", "`with_headers`"),
    (Word, "prompt", "`single_record`, `immediate`"),
    (Phrase, "tells of", "`reports`"),
    (Phrase, "tell of", "`report`"),
    (Phrase, "telling of", "`reporting`"),
    (Phrase, "who waits", "the waiting task"),
    (Phrase, "cannot be.", "`is invalid`"),
    (Phrase, "cannot be,", "`is invalid`"),
    (Phrase, "cannot be;", "`is invalid`"),
    (Phrase, "cannot be:", "`is invalid`"),
    (Phrase, "seed component", "what it is"),
    (Phrase, "the brief", "what it is"),
    (Phrase, "words.rs", "`types.rs`"),
    (Phrase, "session.rs", "`transactions.rs`"),
    (Phrase, "runs.rs", "`partition_groups.rs`"),
    (Phrase, "contain.rs", "`catch_panic`"),
    (Phrase, "contain::", "`catch_panic`"),
    (Phrase, "contain(", "`catch_panic`"),
    (Phrase, "follow_up", "`after_transition`"),
    (Phrase, "act(", "`apply`"),
    (Phrase, "list_topics", "`metadata`"),
    (Phrase, "producer.purge(true", "`purge(PurgeScope::…)`"),
    (Phrase, "producer.purge(false", "`purge(PurgeScope::…)`"),
    (Name, "Exchange", "`Driver`, `WorkerApi`"),
    (Name, "Spent", "`ErrorPool`"),
    (Name, "Stored", "`OwnedRecord`"),
    (Name, "Standing", "`TransactionStatus`"),
    (Definition, "Call", "`RunnerSignal`, `CallSpan`, `CallFuture`"),
    (Definition, "Counter", "`TokenMailbox`"),
    (Definition, "Entry", "`Admission`, `SlotInit`, `PendingCall`, `NativeMessage`"),
    (Definition, "Group", "`BulkOutcomes`"),
    (Definition, "Open", "`RecordSpan`"),
    (Definition, "Send", "`SendRecord`"),
    (OfPanics, "contain", "`catch`"),
    (OfPanics, "contained", "`caught`"),
];

/// Where a word is right: how the file's path ends, a part of the line, the word, and why.
const ALLOWED: [(&str, &str, &str, &str); 5] = [
    ("rules/words.rs", "", "", "the list itself"),
    ("broker/events.rs", "audience=kafka", "audience", "a parameter of OAuth"),
    ("docs/from-future-producer.md", "who waits for what", "who waits", "a question, not a task"),
    ("core/src/backend/calls.rs", "enum Call", "Call", "a call to a broker: the one type of this name"),
    ("core/src/backend/calls.rs", "struct Group", "Group", "a consumer group, as Kafka calls it"),
];

/// A word that should not be there.
#[derive(Debug, PartialEq, Eq)]
struct Hit {
    /// Counted from 1. 0 is the file's own name.
    line: usize,
    word: &'static str,
    instead: &'static str,
}

fn is_name_character(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The names and words of a line, as they are written.
fn names(line: &str) -> impl Iterator<Item = &str> {
    line.split(|character| !is_name_character(character)).filter(|name| !name.is_empty())
}

/// The words that a name is made of, in lower case: `a`, `new` and `ticket` of `a_NewTicket`.
fn words(name: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut before = ' ';
    for character in name.chars() {
        if character == '_' || (character.is_uppercase() && before.is_lowercase()) {
            found.push(String::new());
        }
        if character != '_' {
            found.last_mut().expect("one at least").extend(character.to_lowercase());
        }
        before = character;
    }
    found
}

fn is_form_of(found: &str, word: &str) -> bool {
    found == word || found.strip_suffix('s') == Some(word)
}

/// Whether `text`, from `at` on, is `phrase` between boundaries.
fn is_phrase(text: &str, at: usize, phrase: &str) -> bool {
    let end = at + phrase.len();
    let open = |character: Option<char>, inner: Option<char>| {
        !(inner.is_some_and(is_name_character) && character.is_some_and(is_name_character))
    };
    open(text[..at].chars().next_back(), phrase.chars().next())
        && open(text[end..].chars().next(), phrase.chars().next_back())
}

/// A text in which the end of a line, with the beginning of the next line of a comment, is a space; in lower case.
struct Joined {
    text: String,
    /// Where each line begins.
    starts: Vec<usize>,
}

impl Joined {
    fn new(lines: &str) -> Self {
        let (mut text, mut starts) = (String::new(), Vec::new());
        for line in lines.lines() {
            starts.push(text.len());
            let content = line.trim().trim_start_matches(['/', '!', '#', '*', '>']).trim_start();
            text.push_str(&content.to_lowercase());
            text.push(' ');
        }
        Self { text, starts }
    }

    /// The numbers of the lines in which `phrase` begins.
    fn lines_with(&self, phrase: &str) -> Vec<usize> {
        let hits = self.text.match_indices(phrase).filter(|(at, _)| is_phrase(&self.text, *at, phrase));
        let mut lines: Vec<_> = hits.map(|(at, _)| self.starts.partition_point(|start| *start <= at)).collect();
        lines.dedup();
        lines
    }
}

fn has_name(line: &str, name: &str, is_rust: bool) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let quoted = line.match_indices('`').any(|(at, _)| names(&line[at..]).next() == Some(name));
    quoted || is_rust && names(code).any(|found| found == name)
}

fn defines(line: &str, name: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let found: Vec<_> = names(code).collect();
    found.windows(2).any(|pair| ["struct", "enum", "trait", "type", "union"].contains(&pair[0]) && pair[1] == name)
}

/// What should not be in a file, by its path and its text.
fn hits(path: &str, text: &str) -> Vec<Hit> {
    let is_rust = path.ends_with(".rs");
    let mut found = Vec::new();
    // The path is line 0.
    for (number, line) in [path].into_iter().chain(text.lines()).enumerate() {
        let parts: Vec<_> = names(line).flat_map(words).collect();
        let is_of_panics = line.to_lowercase().contains("panic");
        for (form, word, instead) in WORDS {
            let is_hit = match form {
                Word => parts.iter().any(|part| is_form_of(part, word)),
                Phrase => false,
                Name => has_name(line, word, is_rust),
                Definition => is_rust && defines(line, word),
                OfPanics => is_of_panics && parts.iter().any(|part| part == word),
            };
            if is_hit {
                found.push(Hit { line: number, word, instead });
            }
        }
    }
    let (own_name, joined) = (Joined::new(path), Joined::new(text));
    for (_, word, instead) in WORDS.into_iter().filter(|(form, ..)| *form == Phrase) {
        let lines = own_name.lines_with(word).into_iter().map(|_| 0).chain(joined.lines_with(word));
        found.extend(lines.map(|line| Hit { line, word, instead }));
    }
    found.sort_by_key(|hit| hit.line);
    found
}

/// Which row of `ALLOWED` lets this be.
fn allowed(path: &str, line: &str, word: &str) -> Option<usize> {
    ALLOWED.iter().position(|(file, part, allowed, _)| {
        path.ends_with(file) && line.contains(part) && (allowed.is_empty() || *allowed == word)
    })
}

/// The paths of all files under version control.
fn files() -> Vec<String> {
    let mut git = Command::new("git");
    // The checkout may belong to another user, in a container.
    let output = git.args(["-c", "safe.directory=*", "ls-files", "-z"]).current_dir(root()).output().expect("git runs");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let list = String::from_utf8(output.stdout).expect("names in UTF-8");
    list.split('\0').filter(|path| READ.iter().any(|end| path.ends_with(end))).map(str::to_owned).collect()
}

#[test]
fn words_that_a_reader_stumbles_over_are_not_used() {
    let (mut used, mut report) = ([false; ALLOWED.len()], Vec::new());
    let files = files();
    assert!(files.len() > 200, "{} files were found", files.len());
    for path in files {
        // A file may be gone that is still in the index.
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        for Hit { line, word, instead } in hits(&path, &text) {
            let content = line.checked_sub(1).and_then(|at| text.lines().nth(at)).unwrap_or(&path);
            match allowed(&path, content, word) {
                Some(row) => used[row] = true,
                None => report.push(format!("{path}:{line}: `{word}`, write {instead}: {}", content.trim())),
            }
        }
    }
    assert!(report.is_empty(), "{} words:\n{}", report.len(), report.join("\n"));
    let idle: Vec<_> = ALLOWED.iter().zip(used).filter(|(_, used)| !used).map(|(row, _)| row).collect();
    assert!(idle.is_empty(), "these are allowed and are not there: {idle:?}");
}

#[test]
fn a_planted_word_is_found_with_its_line() {
    let found =
        |path: &str, text: &str| -> Vec<_> { hits(path, text).into_iter().map(|hit| (hit.line, hit.word)).collect() };
    assert_eq!(found("a.md", "A worker\nis told of it.\n"), [(2, "told")]);
    assert_eq!(found("a.rs", "fn is_told() {}\n"), [(1, "told")]);
    assert_eq!(found("a.rs", "struct FrontDesks;\n"), [(1, "desk")]);
    assert_eq!(found("a.toml", "PATIENCE = 1"), [(1, "patience")]);
    assert_eq!(found("src/desk.rs", ""), [(0, "desk")]);
    assert_eq!(found("src/runs.rs", ""), [(0, "runs.rs")]);
    assert_eq!(found("a.rs", "//! The seed\n//! component of it.\n"), [(1, "seed component")]);
    assert_eq!(found("a.rs", "//! a\n/// Which setting cannot\n/// be.\n"), [(2, "cannot be.")]);
    assert_eq!(found("a.rs", "struct Spent;\n"), [(1, "Spent")]);
    assert_eq!(found("a.md", "A `Spent` error"), [(1, "Spent")]);
    assert_eq!(found("a.rs", "pub(crate) struct Entry<T> {"), [(1, "Entry")]);
    assert_eq!(found("a.rs", "/// A panic is contained."), [(1, "contained")]);
    assert_eq!(found("a.rs", "self.act(effects);"), [(1, "act(")]);
    assert_eq!(found("a.c", "a\n\nlots of reports"), [(3, "lots")]);
}

#[test]
fn words_of_the_field_are_left_alone() {
    for (path, text) in [
        ("a.rs", "let entry: Entry<'_, K, V> = map.entry(key);"),
        ("a.rs", "/// Stored in a slot."),
        ("a.rs", "fn slots() -> Slots {} exact() react() contract(); task.extract();"),
        ("a.md", "Slots, ballots, folders. It cannot be sent. Enriched, promptly. The list contains it."),
        ("a.md", "Spent time. The briefest. A brief pause. The briefing."),
        ("tests/tests/regressions/reruns.rs", "assert!(text.contains(\"panicked\"));"),
    ] {
        assert_eq!(hits(path, text), [], "{path}: {text}");
    }
}
