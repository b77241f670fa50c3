//! Chaos around any backend: it stands between the driver and the backend, and delays, refuses and rejects what passes. It knows the
//! seam between the two and nothing else: no cluster, no client, no executor.

mod around;
mod between;
mod counts;
mod dice;
mod gate;
mod hand_offs;
mod late;
mod settings;
mod task;

pub use self::around::Around;
pub use self::counts::ChaosCounts;
pub use self::settings::Chaos;
