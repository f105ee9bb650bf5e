//! What packages and people need on paper: the settings, the manual page, completions of shells.

use super::{CommandError, say};
use crate::config::{self, SETTINGS};
use clap_complete::Shell;
use std::process::ExitCode;

/// `settings`
pub fn settings() -> Result<ExitCode, CommandError> {
    say("# Settings of ifmatch-server. Flags and the environment win over this file.")?;
    for setting in SETTINGS {
        say("")?;
        for line in setting.help.lines() {
            say(format_args!("# {}", line.trim()))?;
        }
        let value = match setting.default {
            Some(text) if text.parse::<u64>().is_ok() || text == "true" || text == "false" => {
                text.to_owned()
            }
            Some(text) => format!("\"{text}\""),
            None => "…".to_owned(),
        };
        say(format_args!("# {} = {value}", setting.key))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `man`
pub fn man() -> Result<ExitCode, CommandError> {
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(config::command()).render(&mut page);
    rendered.map_err(|cause| CommandError::Io { what: "the manual page".to_owned(), cause })?;
    say(String::from_utf8_lossy(&page).trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// `completions`
pub fn completions(shell: Shell) -> Result<ExitCode, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut config::command(), "ifmatch-server", &mut script);
    say(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}
