//! The simulation's own executor: one thread, a virtual clock, and a seed that chooses which ready task is next. Nothing here knows
//! Kafka.

mod joined;
mod run;
mod sim;
mod tasks;
mod timers;

pub use self::joined::Joined;
pub use self::sim::Sim;
