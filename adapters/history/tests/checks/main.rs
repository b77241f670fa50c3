//! The checks: for each of them the smallest history that breaks it and the nearest one that does not, and random histories.

mod legal;
mod mutations;
mod operations;
mod order;
mod outcomes;
mod presence;
mod story;
mod transactions;
