//! What only a real broker shows. `checks/kafka/check.sh` runs these tests; a plain run ignores them.

mod order;
mod raw;
mod records;
mod rules;
mod said;
mod settings;
mod topics;
mod transactions;
mod transform;
