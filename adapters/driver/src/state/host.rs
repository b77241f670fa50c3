//! What runners of callbacks see of the producer.

use std::sync::Arc;

use aioproducer_core::Phase;

use super::shared::Shared;
use crate::callbacks::{Callbacks, Host};
use crate::record::topics::Topics;
use crate::runtime::Runtime;

impl Host for Shared {
    fn callbacks(&self) -> &Callbacks {
        &self.callbacks
    }

    fn runtime(&self) -> &dyn Runtime {
        &*self.runtime
    }

    fn topics(&self) -> &Arc<Topics> {
        &self.topics
    }

    fn me(&self) -> Option<Arc<Self>> {
        self.me.get()?.upgrade()
    }

    fn counts_changed(&self) {
        self.observer.emit_callbacks(&self.topics, || self.callbacks.counts(), &self.panics);
    }

    fn wake(&self, driver: bool, closing: bool) {
        self.with(|state, effects| {
            if driver {
                effects.wakers.extend(state.driver.take());
            }
            if closing {
                effects.wakers.append(&mut state.close_wakers);
            }
        });
    }

    fn has_ended(&self) -> bool {
        self.lock().machine.phase() == Phase::Ended
    }
}
