//! S33: each mistake of a table is made. Its message names the culprit and says what to do. `docs/mistakes.md` shows them.
//!
//! The page is written by `WRITE_DOCS=1 cargo test -p aioproducer-tests --test broker mistakes`. To add a
//! mistake, write its code as a function in a file of this folder, as a user would, and a row in that file's table.

mod builder;
mod configuration;
mod page;
mod records;
mod servers;
mod table;

use self::table::{Chapter, When};
use aioproducer_rdkafka::ClientConfig;
use aioproducer_tests::executor::{Executor, TokioMulti};
use aioproducer_tests::sources::assert_page;

fn chapters() -> [Chapter; 4] {
    [servers::chapter(), configuration::chapter(), builder::chapter(), records::chapter()]
}

/// Some rows use what is not in the usual build.
fn is_usual_build() -> bool {
    let features = ClientConfig::new().create_native_config().and_then(|config| config.get("builtin.features"));
    let is_usual =
        features.is_ok_and(|features| !["ssl", "zstd", "sasl_gssapi"].iter().any(|part| features.contains(part)));
    if !is_usual {
        println!("SKIPPED: what the page says is missing is in this build");
    }
    is_usual
}

#[test]
fn s33_each_mistake_is_named_with_what_to_do() {
    if !is_usual_build() {
        return;
    }
    let executor = TokioMulti::new();
    let mut page = page::head();
    for chapter in chapters() {
        page::chapter(&mut page, &chapter);
        for mistake in &chapter.mistakes {
            let (when, message) = executor.block_on(mistake.make(&executor.host()));
            assert_eq!(when, mistake.when, "{}: {message}", mistake.title);
            for part in mistake.names.iter().chain(mistake.tells) {
                assert!(message.contains(part), "{}: {message:?} does not say {part:?}", mistake.title);
            }
            page::section(&mut page, &chapter, mistake, when, &message);
        }
    }
    assert_page("docs/mistakes.md", &page, "broker mistakes");
}

#[test]
fn the_table_has_what_it_has_to() {
    let chapters = chapters();
    let mistakes: Vec<_> = chapters.iter().flat_map(|chapter| &chapter.mistakes).collect();
    assert!(mistakes.len() >= 40, "{} mistakes", mistakes.len());
    let mut titles: Vec<_> = mistakes.iter().map(|mistake| mistake.title).collect();
    titles.sort_unstable();
    titles.dedup();
    assert_eq!(titles.len(), mistakes.len(), "each has a title of its own");
    for when in [When::Start, When::Produce, When::Delivery] {
        assert!(mistakes.iter().any(|mistake| mistake.when == when), "{when:?}");
    }
    assert!(mistakes.iter().all(|mistake| !mistake.names.is_empty() && !mistake.tells.is_empty()));
}
