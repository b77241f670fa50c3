//! What only a real broker shows. `checks/kafka/check.sh` runs these tests; a plain run ignores them.

#[path = "real_broker/transactions.rs"]
mod transactions;
