//! Plants a bug. Only compiled with the feature `mutants`, for `tests/mutants`.

use ifmatch_domain::Mutant;
use std::process::ExitCode;

/// The environment variable that names the bug. `list` prints all names.
const VARIABLE: &str = "IFMATCH_TEST_MUTANT";

/// Plants the bug that the environment names. Returns an exit code if the process must not go on.
pub fn plant() -> Option<ExitCode> {
    let wanted = std::env::var(VARIABLE).ok().filter(|name| !name.is_empty())?;
    if wanted == "list" {
        Mutant::ALL.iter().for_each(|(name, _)| println!("{name}"));
        return Some(ExitCode::SUCCESS);
    }
    let Some((_, found)) = Mutant::ALL.iter().find(|(name, _)| *name == wanted) else {
        eprintln!("{VARIABLE}: there is no mutant `{wanted}`");
        return Some(ExitCode::from(2));
    };
    found.plant();
    None
}
