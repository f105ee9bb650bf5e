//! What packages and people need on paper: the settings, the manual page, completions of shells.

use super::{CommandError, say};
use crate::config::{self, SETTINGS};
use clap::Command;
use clap_complete::Shell;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};
use std::{
    io::{self, Write},
    process::ExitCode,
};

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
    write_page(&mut page)
        .map_err(|cause| CommandError::Io { what: "the manual page".to_owned(), cause })?;
    say(String::from_utf8_lossy(&page).trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the manual page: one for all subcommands, whose own pages `clap_mangen` would only name.
fn write_page(page: &mut dyn Write) -> io::Result<()> {
    let mut command = config::command();
    command.build();
    let mut own = Roff::new();
    own.control("SH", ["SUBCOMMANDS"]);
    add_subcommands(&mut own, "", &command);
    own.control("SH", ["ENVIRONMENT"]);
    own.text([roman("Each flag above names its variable. These settings have no flag:")]);
    for setting in SETTINGS.iter().filter(|setting| !setting.has_flag()) {
        let default = setting.default.map(|text| format!(" [default: {text}]"));
        let help = format!("{}{}", setting.help.trim(), default.unwrap_or_default());
        add_entry(&mut own, setting.env, &help);
    }
    let man = Man::new(command);
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    own.to_writer(page)?;
    man.render_version_section(page)
}

/// Adds the subcommands of a command, each with its own arguments, and theirs.
fn add_subcommands(page: &mut Roff, before: &str, command: &Command) {
    for subcommand in command.get_subcommands().filter(|one| one.get_name() != "help") {
        let name = format!("{before}{}", subcommand.get_name());
        let about = subcommand.get_about().map(ToString::to_string).unwrap_or_default();
        add_entry(page, &name, &about);
        let arguments = subcommand.get_arguments();
        let own = arguments.filter(|one| !one.is_global_set() && one.get_id().as_str() != "help");
        page.control("RS", []);
        for argument in own {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            add_entry(page, &argument.to_string(), &help);
        }
        page.control("RE", []);
        add_subcommands(page, &format!("{name} "), subcommand);
    }
}

/// Adds a name and what it means.
fn add_entry(page: &mut Roff, name: &str, text: &str) {
    page.control("TP", []);
    page.text([bold(name)]);
    page.text([roman(text)]);
}

/// `completions`
pub fn completions(shell: Shell) -> Result<ExitCode, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut config::command(), "ifmatch-server", &mut script);
    say(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}
