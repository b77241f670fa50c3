//! Promises that involve librdkafka, shown on its mock cluster.

mod availability;
mod chaos;
mod diagnostics;
mod events;
mod inline_completion;
mod isolation;
mod librdkafka;
mod metadata;
mod mistakes;
mod nonblocking;
mod offsets;
mod ordering;
mod overdue;
mod partitioners;
mod paused_clock;
mod received;
mod secrets;
mod settings;
mod sizes;
mod strict;
mod timeouts;
mod transactions;
