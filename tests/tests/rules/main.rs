//! The rules of this repository: dependencies, words, public items, errors, and pages that agree with the sources.

mod dependencies;
mod errors;
mod guides;
mod promise_table;
mod public_items;
mod tables;
mod words;
