//! `docs/design/simulation-rules.md`: each rule of a simulated broker has a test on the model, and one on Kafka or a reason why not.

use std::collections::BTreeMap;
use std::fs;

use aioproducer_tests::sources::{quoted, root, rows, tests};

/// Fewer would be a sign that the table was not understood.
const AT_LEAST: usize = 25;

#[test]
fn each_rule_of_a_simulated_broker_has_a_test_on_the_model_and_on_kafka() {
    let page = "docs/design/simulation-rules.md";
    let text = fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
    let known: BTreeMap<_, _> = tests().into_iter().map(|test| (test.name.clone(), test)).collect();
    let rows = rows(&text);
    assert!(rows.len() >= AT_LEAST, "{page} has {} rules", rows.len());
    for (_, cells) in rows {
        let [rule, model, kafka] = &cells[..] else { panic!("{page}: three cells are expected, not {cells:?}") };
        assert!(!rule.is_empty() && quoted(model).count() > 0, "{page}: {rule}: no test on the model");
        for name in quoted(model) {
            let test = known.get(name).unwrap_or_else(|| panic!("{page}: {rule}: there is no test `{name}`"));
            assert!(test.file.starts_with("adapters/sim/"), "{page}: {rule}: `{name}` is in {}", test.file);
        }
        if let Some(reason) = kafka.strip_prefix("not shown: ") {
            assert!(!reason.is_empty(), "{page}: {rule}: why not?");
            continue;
        }
        assert!(quoted(kafka).count() > 0, "{page}: {rule}: no test on Kafka, and no reason");
        for name in quoted(kafka) {
            let test = known.get(name).unwrap_or_else(|| panic!("{page}: {rule}: there is no test `{name}`"));
            assert!(test.on_kafka, "{page}: {rule}: `{name}` needs no Kafka");
        }
    }
}
