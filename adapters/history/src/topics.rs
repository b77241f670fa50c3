//! The names of topics, each kept once.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Topics by number, from 0 on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Topics {
    names: Vec<Arc<str>>,
    numbers: BTreeMap<Arc<str>, u32>,
}

impl Topics {
    /// A topic's number, which it gets if it has none.
    pub(crate) fn number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let (name, number) = (Arc::<str>::from(name), self.names.len() as u32);
        self.names.push(Arc::clone(&name));
        self.numbers.insert(name, number);
        number
    }

    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    pub(crate) fn name(&self, number: u32) -> &Arc<str> {
        &self.names[number as usize]
    }

    pub(crate) fn names(&self) -> &[Arc<str>] {
        &self.names
    }
}
