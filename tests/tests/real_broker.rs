//! What only a real broker shows. `checks/kafka/check.sh` runs these tests; a plain run ignores them.

#[path = "real_broker/order.rs"]
mod order;
#[path = "real_broker/records.rs"]
mod records;
#[path = "real_broker/said.rs"]
mod said;
#[path = "real_broker/settings.rs"]
mod settings;
#[path = "real_broker/topics.rs"]
mod topics;
#[path = "real_broker/transactions.rs"]
mod transactions;
#[path = "real_broker/transform.rs"]
mod transform;
