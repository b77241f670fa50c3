//! The rules of this repository: dependencies, words, and pages that agree with the sources.

mod dependencies;
mod error_table;
mod guides;
mod imports;
mod promise_table;
mod public_items;
mod simulation_rules;
mod tables;
mod words;
