//! Parsers for the values of settings. `None` means that the text is not a valid value.

use crate::log::LogFormat;
use secrecy::{ExposeSecret, SecretString};
use std::{path::PathBuf, str::FromStr};
use tracing_subscriber::filter::LevelFilter;

/// A value that the type itself can parse.
pub fn parsed<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// A number between these two, both included.
pub fn between<T: FromStr + PartialOrd>(text: &str, least: T, most: T) -> Option<T> {
    parsed(text).filter(|number| least <= *number && *number <= most)
}

/// Milliseconds, from 1 up to a day.
pub fn milliseconds(text: &str) -> Option<u64> {
    between(text, 1, 86_400_000)
}

/// `text` or `json`.
pub fn log_format(text: &str) -> Option<LogFormat> {
    match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}

/// A filter that `tracing` understands.
///
/// It takes any other word than a level for a target, and then logs nothing: `warning`, for example.
pub fn log_filter(text: &str) -> Option<String> {
    let is_plain = |one: &&str| !one.contains(['=', '[']);
    let mut words = text.split(',').filter(is_plain);
    let readable = words.all(|word| word.parse::<LevelFilter>().is_ok())
        && tracing_subscriber::EnvFilter::try_new(text).is_ok();
    (readable && !text.is_empty()).then(|| text.to_owned())
}

/// The name of a file.
pub fn file(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

/// A secret that fits into a header.
pub fn visible(text: &str) -> Option<SecretString> {
    let good = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    good.then(|| SecretString::from(text))
}

/// A key that fits into an `Authorization` header.
pub fn admin_key(text: &str) -> Option<SecretString> {
    visible(text).filter(|key| (24..=255).contains(&key.expose_secret().len()))
}

/// A secret that is long enough not to be guessed.
pub fn secret(text: &str) -> Option<SecretString> {
    (text.chars().count() >= 24).then(|| SecretString::from(text))
}

/// An HTTP address. A slash at its end is removed.
pub fn web_url(text: &str) -> Option<String> {
    let host = ["https://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme))?;
    // A password in the address would end up in logs.
    (!host.is_empty() && !host.contains('@')).then(|| text.trim_end_matches('/').to_owned())
}
