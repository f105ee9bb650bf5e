//! The settings from a file, the environment and the command line. The latest one counts.

use super::{
    ConfigError,
    setting::{Door, SETTINGS, Setting},
};
use std::{collections::BTreeMap, io};

/// Environment variables of clients and examples. The server ignores them.
const FOREIGN: [&str; 2] = ["IFMATCH_URL", "IFMATCH_KEY"];
/// The prefix of the environment variables of tests. The server ignores them, too.
const FOREIGN_PREFIX: &str = "IFMATCH_TEST_";

/// The text of each setting, with the name under which it was set. The latest one counts.
#[derive(Default)]
pub struct Said(BTreeMap<&'static str, (String, String)>);

impl Said {
    pub fn add(&mut self, setting: &Setting, said_as: String, text: String) {
        self.0.insert(setting.key, (said_as, text));
    }

    pub fn add_file(&mut self, path: &str, content: io::Result<String>) -> Result<(), ConfigError> {
        let wrong = |what: String| ConfigError::Setting(format!("{path}: {what}"));
        let content = content.map_err(|cause| wrong(format!("it cannot be read: {cause}")))?;
        // The parser's own message would repeat the line, and a line may hold a secret.
        let table: toml::Table = content.parse().map_err(|error: toml::de::Error| {
            let before = error.span().and_then(|span| content.get(..span.start));
            let line = before.map_or(1, |text| text.matches('\n').count() + 1);
            wrong(format!("line {line} is not TOML: {}", error.message()))
        })?;
        for (key, value) in table {
            let setting = SETTINGS
                .iter()
                .find(|setting| setting.key == key)
                .ok_or_else(|| wrong(format!("`{key}` is not a setting")))?;
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(truth) => truth.to_string(),
                _ => return Err(wrong(format!("`{key}` is not {}", setting.expected))),
            };
            self.add(setting, format!("{path}: {key}"), text);
        }
        Ok(())
    }

    pub fn add_environment(&mut self, said: BTreeMap<String, String>) -> Result<(), ConfigError> {
        for (name, text) in said {
            if FOREIGN.contains(&name.as_str()) || name.starts_with(FOREIGN_PREFIX) {
                continue;
            }
            let setting = SETTINGS
                .iter()
                .find(|setting| setting.env == name)
                .ok_or_else(|| ConfigError::Setting(format!("{name}: there is no such setting")))?;
            self.add(setting, name, text);
        }
        Ok(())
    }

    /// The value of a setting: the text that was set, else its default, else `None`.
    pub fn read<T>(
        &self,
        key: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let setting = SETTINGS.iter().find(|setting| setting.key == key);
        let setting = setting.expect("the table makes both the fields and the rows");
        let (said_as, text) = match self.0.get(key) {
            Some((said_as, text)) => (said_as.as_str(), text.as_str()),
            None => match setting.default {
                Some(default) => (key, default),
                None => return Ok(None),
            },
        };
        // A database may be described with a password in it, also in a form that is not a URL.
        let may_hold_secret =
            text.contains(['@', '?']) || (setting.key == "database_url" && text.contains('='));
        let hidden = setting.door == Door::Secret || may_hold_secret;
        let shown = if hidden { "the value".to_owned() } else { format!("`{text}`") };
        parse(text).map(Some).ok_or_else(|| {
            ConfigError::Setting(format!("{said_as}: {shown} is not {}", setting.expected))
        })
    }
}
