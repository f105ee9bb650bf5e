//! Fresh ids, derived from a command's seed.

use uuid::Uuid;

/// Makes the ids of what a command creates: the first is the seed, the next ones count on from it.
///
/// The seed is a UUIDv7 with 62 random bits at its end, so that counting on by a few hundred stays
/// in the same millisecond and clear of everybody else's.
#[derive(Clone, Debug)]
pub struct Ids {
    next: u128,
}

impl Ids {
    /// Ids for one run of one command.
    pub fn from_seed(seed: Uuid) -> Self {
        Self { next: seed.as_u128() }
    }

    /// The next id, with its prefix (`sub_`).
    pub fn fresh(&mut self, prefix: &str) -> String {
        let mut digits = Uuid::encode_buffer();
        let digits = Uuid::from_u128(self.next).simple().encode_lower(&mut digits);
        let id = [prefix, &*digits].concat();
        self.next = self.next.wrapping_add(1);
        id
    }
}
