//! A budget of bytes that wait in memory, with a share for each API key.

use ifmatch_types::ApiKeyId;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How many bytes may wait at the same time, in all and for one key.
#[derive(Debug)]
pub struct Budget {
    bytes_max: usize,
    bytes_max_per_key: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    bytes: usize,
    by_key: HashMap<ApiKeyId, usize>,
}

/// Bytes that were taken from a budget; given back when dropped.
#[derive(Debug)]
pub struct Reserved {
    budget: Arc<Budget>,
    key: Option<ApiKeyId>,
    bytes: usize,
}

impl Budget {
    /// A budget of `bytes_max`, of which a key gets `bytes_max_per_key` at most.
    pub fn new(bytes_max: usize, bytes_max_per_key: usize) -> Arc<Self> {
        Arc::new(Self { bytes_max, bytes_max_per_key, taken: Mutex::default() })
    }

    /// Takes bytes in the name of a key; `None` if they are not there.
    ///
    /// The server's own work has no key and no share.
    pub fn reserve(self: &Arc<Self>, key: Option<&ApiKeyId>, bytes: usize) -> Option<Reserved> {
        let mut taken = self.taken();
        let all = taken.bytes.saturating_add(bytes);
        if all > self.bytes_max {
            return None;
        }
        if let Some(key) = key {
            let of_key = taken.by_key.get(key).copied().unwrap_or_default().saturating_add(bytes);
            if of_key > self.bytes_max_per_key {
                return None;
            }
            match taken.by_key.get_mut(key) {
                Some(known) => *known = of_key,
                None => {
                    taken.by_key.insert(key.clone(), of_key);
                }
            }
        }
        taken.bytes = all;
        drop(taken);
        Some(Reserved { budget: Arc::clone(self), key: key.cloned(), bytes })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reserved {
    /// How many bytes were taken.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut taken = self.budget.taken();
        taken.bytes = taken.bytes.saturating_sub(self.bytes);
        let Some(key) = &self.key else { return };
        if let Some(of_key) = taken.by_key.get_mut(key) {
            *of_key = of_key.saturating_sub(self.bytes);
            if *of_key == 0 {
                taken.by_key.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_share_and_all_have_the_budget() {
        let budget = Budget::new(100, 60);
        let keys = ["a", "b"].map(ApiKeyId::from_unchecked);
        let [a, b] = keys.each_ref().map(Some);
        let first = budget.reserve(a, 40).unwrap();
        let second = budget.reserve(a, 20).unwrap();
        assert!(budget.reserve(a, 1).is_none(), "its share is taken");
        assert!(budget.reserve(b, 41).is_none(), "the budget is taken");
        let other = budget.reserve(b, 40).unwrap();
        assert_eq!(other.bytes(), 40);
        drop(first);
        assert!(budget.reserve(a, 40).is_some());
        drop((second, other));
        assert_eq!(budget.taken().bytes, 0);
        assert!(budget.taken().by_key.is_empty(), "a key that stopped takes no memory");
    }
}
