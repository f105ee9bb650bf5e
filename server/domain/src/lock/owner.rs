//! Owner tokens: who knows the token of a grant can renew and release it.
//!
//! A token is derived from a secret of the installation, so that the answer to an acquisition can
//! be repeated although no token is stored. Only its digest is.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::{fmt, sync::Arc};

/// The bytes of a token: 160 bits.
const TOKEN_BYTES: usize = 20;

/// The secret that owner tokens are derived from.
#[derive(Clone)]
pub struct OwnerSecret(Arc<[u8]>);

/// The token of a grant's owner.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnerToken(String);

impl OwnerSecret {
    /// A secret of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The token of one grant: of this lock, with this fence.
    ///
    /// `salt` is what only the caller of this grant knows or repeats: its Idempotency-Key with its
    /// owner, or random characters.
    pub(super) fn token(&self, lock_id: &str, fence: i64, salt: &str) -> OwnerToken {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key has any length");
        // No lock's id contains a line break, so that no two inputs run into each other.
        mac.update(format!("{lock_id}\n{fence}\n{salt}").as_bytes());
        let bytes = mac.finalize().into_bytes();
        OwnerToken(format!("own_{}", hex(bytes.iter().take(TOKEN_BYTES))))
    }
}

impl OwnerToken {
    /// The token as its owner gets it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// The digest that is stored of a token, or of what a caller sent as one.
pub(super) fn digest(token: &str) -> String {
    hex(Sha256::digest(token.as_bytes()).iter())
}

fn hex<'b>(bytes: impl Iterator<Item = &'b u8>) -> String {
    let halves = bytes.flat_map(|byte| [byte >> 4, byte & 0x0f]);
    halves.filter_map(|half| char::from_digit(half.into(), 16)).collect()
}

impl fmt::Debug for OwnerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnerSecret")
    }
}

impl fmt::Debug for OwnerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnerToken")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_depends_on_secret_lock_fence_and_salt() {
        let secret = OwnerSecret::new(b"one");
        let token = secret.token("/global//a", 7, "s");
        assert_eq!(token, secret.token("/global//a", 7, "s"), "it can be made again");
        let others = [
            OwnerSecret::new(b"two").token("/global//a", 7, "s"),
            secret.token("/global//b", 7, "s"),
            secret.token("/global//a", 8, "s"),
            secret.token("/global//a", 7, "t"),
        ];
        assert!(others.iter().all(|other| *other != token));
        assert_eq!(token.expose().len(), 4 + 40);
        assert_eq!(format!("{secret:?} {token:?}"), "OwnerSecret OwnerToken");
    }
}
