//! New ids, derived from a command's seed.

use uuid::Uuid;

/// Makes the ids of the objects that a command creates.
///
/// The first id is the seed; each further id is one higher. The seed is a UUIDv7 that ends in 62
/// random bits. A few hundred increments therefore stay in the same millisecond and do not collide
/// with other seeds.
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
