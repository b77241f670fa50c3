//! What librdkafka's own tests check, shown with this producer. `docs/librdkafka-tests.md` has the list.

mod brokers;
mod records;
