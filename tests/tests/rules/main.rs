//! Rules that this repository keeps: dependencies, words, and pages that say what the sources say.

mod dependencies;
mod guides;
mod promise_table;
mod tables;
mod words;
