//! What is told to people about a call: the panel's own words, made harmless.

use secrecy::{ExposeSecret, SecretString};

/// Maximum length of a detail in characters.
pub const DETAIL_MAX: usize = 300;
/// What stands in a detail instead of the key.
const HIDDEN: &str = "[key]";

/// The text without control characters and without the key, shortened.
///
/// Control characters go first: without them, two parts of the key may become the whole key.
pub fn clean(text: &str, key: &SecretString) -> String {
    let text: String = text.chars().filter(|char| !char.is_control()).collect();
    let text = text.replace(key.expose_secret().trim(), HIDDEN);
    text.trim().chars().take(DETAIL_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_has_no_key_no_control_characters_and_an_end() {
        let key = SecretString::from("ptla_secret");
        let cleaned = |text: &str| clean(text, &key);
        assert_eq!(cleaned(" bad\r\nBearer ptla_secret\u{1b}[31m. "), "badBearer [key][31m.");
        assert_eq!(cleaned("ptla_\0secret"), HIDDEN);
        // The key is replaced before the text is cut, so that no part of it stays.
        let long = format!("{}ptla_secret", "ä".repeat(DETAIL_MAX - 4));
        assert_eq!(cleaned(&long), format!("{}[key", "ä".repeat(DETAIL_MAX - 4)));
    }
}
