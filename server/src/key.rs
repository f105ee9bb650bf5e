//! API keys: how one is made, recognised and compared.
//!
//! A key has the form `ifm_<id>_<secret><checksum>`: the 32 hexadecimal digits of its id, 32 random
//! base-62 characters (190 bits), and the CRC-32 of all that in 6 base-62 characters. The checksum
//! does not authenticate a caller. It keeps typos and junk away from the database, and it lets
//! scanners find leaked keys. Only the SHA-256 of a key is stored. With that many random bits, a
//! slow hash would protect nothing.

use ifmatch_types::ApiKeyId;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

const PREFIX: &str = "ifm_";
const ID_LEN: usize = 32;
const SECRET_LEN: usize = 32;
const CHECKSUM_LEN: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The id of a new key.
pub fn fresh_id() -> ApiKeyId {
    ApiKeyId::from_unchecked(format!("{}{}", ApiKeyId::PREFIX, Uuid::now_v7().simple()))
}

/// Makes the key with this id. The returned text is its only copy.
///
/// # Errors
/// If the operating system has no random numbers to give.
pub fn mint(id: &ApiKeyId) -> Result<SecretString, getrandom::Error> {
    let digits = id.as_str().strip_prefix(ApiKeyId::PREFIX).unwrap_or(id.as_str());
    let mut key = format!("{PREFIX}{digits}_");
    push_random(&mut key, SECRET_LEN)?;
    let checksum = checksum(&key);
    key.push_str(&checksum);
    debug_assert!(looks_minted(&key), "a minted key must be recognised");
    Ok(SecretString::from(key))
}

/// Random base-62 characters that nobody can guess: 190 bits.
///
/// # Errors
/// If the operating system has no random numbers to give.
pub fn random_digits() -> Result<String, getrandom::Error> {
    let mut digits = String::with_capacity(SECRET_LEN);
    push_random(&mut digits, SECRET_LEN)?;
    Ok(digits)
}

/// Whether this has the form and the checksum of a key that [`mint`] made.
pub fn looks_minted(text: &str) -> bool {
    minted_id(text).is_some()
}

/// The id within a key that [`mint`] made, if its form and checksum are right.
pub fn minted_id(text: &str) -> Option<ApiKeyId> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    if id.len() != ID_LEN || secret.len() != SECRET_LEN + CHECKSUM_LEN || !text.is_ascii() {
        return None;
    }
    let (body, sum) = text.split_at_checked(text.len() - CHECKSUM_LEN)?;
    if checksum(body) != sum {
        return None;
    }
    format!("{}{id}", ApiKeyId::PREFIX).parse().ok()
}

/// The digest that is stored of a key: its SHA-256 in 64 hex digits.
///
/// The key may be minted or chosen by the operator.
pub fn digest(key: &str) -> String {
    hex(&Sha256::digest(key.as_bytes()))
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let halves = [byte >> 4, byte & 0x0f];
        digits.extend(halves.into_iter().filter_map(|half| char::from_digit(half.into(), 16)));
    }
    digits
}

/// Whether two digests are the same, in a time that does not depend on where they differ.
pub fn same_digest(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

/// The digest of a secret.
pub fn digest_of(secret: &SecretString) -> String {
    digest(secret.expose_secret())
}

/// Appends `len` base-62 characters, each of them equally likely.
fn push_random(text: &mut String, len: usize) -> Result<(), getrandom::Error> {
    // 62 does not divide 256, so bytes from here on would make the first characters likelier.
    const FAIR_BELOW: u8 = 248;
    let wanted = text.len() + len;
    let mut bytes = [0; SECRET_LEN];
    while text.len() < wanted {
        getrandom::fill(&mut bytes)?;
        let missing = wanted - text.len();
        text.extend(
            bytes.iter().filter(|byte| **byte < FAIR_BELOW).take(missing).map(|b| digit(*b)),
        );
    }
    Ok(())
}

fn digit(byte: u8) -> char {
    let index = usize::from(byte) % BASE62.len();
    BASE62.get(index).copied().map_or('0', char::from)
}

fn checksum(text: &str) -> String {
    let mut rest = crc32fast::hash(text.as_bytes());
    let mut digits = [0; CHECKSUM_LEN];
    for place in digits.iter_mut().rev() {
        *place = u8::try_from(rest % 62).unwrap_or_default();
        rest /= 62;
    }
    digits.into_iter().map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "key_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f";

    fn minted() -> String {
        mint(&ID.parse().unwrap()).unwrap().expose_secret().to_owned()
    }

    #[test]
    fn a_minted_key_is_recognised_and_names_its_id() {
        let key = minted();
        assert!(key.starts_with("ifm_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f_"), "{key}");
        assert_eq!(key.len(), 4 + 32 + 1 + 32 + 6);
        assert_eq!(minted_id(&key).unwrap().as_str(), ID);
        assert!(looks_minted(&key));
    }

    #[test]
    fn one_changed_character_is_enough_to_be_refused() {
        let key = minted();
        for at in 0..key.len() {
            let mut bytes = key.clone().into_bytes();
            bytes[at] = if bytes[at] == b'7' { b'8' } else { b'7' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(!looks_minted(&changed), "position {at} of {changed}");
        }
    }

    #[test]
    fn junk_is_refused() {
        let key = minted();
        let longer = format!("{key}0");
        let shorter = &key[..key.len() - 1];
        let not_ascii = key.replacen("ifm_0", "ifm_é", 1);
        for junk in ["", "ifm_", "ifm__", "Bearer", &longer, shorter, &not_ascii] {
            assert!(!looks_minted(junk), "{junk}");
        }
    }

    #[test]
    fn two_keys_of_one_id_differ() {
        assert_ne!(minted(), minted());
    }

    #[test]
    fn the_digest_is_sha_256() {
        let digest = digest("abc");
        assert_eq!(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(same_digest(&digest, &digest.clone()));
        assert!(!same_digest(&digest, &digest[1..]));
        assert!(!same_digest(&digest, &digest.replace('b', "c")));
    }

    #[test]
    fn debug_does_not_show_the_key() {
        let key = mint(&ID.parse().unwrap()).unwrap();
        assert!(!format!("{key:?}").contains("ifm_"));
    }
}
