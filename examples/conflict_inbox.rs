//! An inbox of conflicts that only a person can decide. They wait in files, even for days.
//!
//! `cargo run --release --example conflict_inbox`
//!
//! Leave some for later and start it again with the same `--store` and server: they are still
//! there. That needs `IFMATCH_KEY`, because a private server ends with this program.

mod support;

use clap::Parser;
use ifmatch::{Client, Decision, Error, FileStore, Parked};
use serde_json::Value;
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};
use support::{Result, Server};

#[derive(Parser)]
struct Args {
    /// The directory that keeps the conflicts, one file each.
    #[arg(long)]
    store: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let server = Server::find()?;
    let temporary = tempfile::tempdir()?;
    let store = match args.store {
        Some(store) => store,
        // Conflicts in a permanent directory are useless once the private server is gone.
        None if server.is_private() => temporary.path().to_owned(),
        None => PathBuf::from("conflict-inbox"),
    };

    let waiting = open(&server, &store)?.conflicts().list().len();
    if waiting > 0 {
        println!("waiting from an earlier run: {waiting}");
    } else {
        make_conflicts(&server, &store).await?;
        println!("two people edited the same subscriptions, and the client that met the conflicts");
        println!("is gone; the conflicts are in its files");
    }

    // A new client, as after a restart. It loads the conflicts from the files.
    let billing = open(&server, &store)?;
    for parked in billing.conflicts().list() {
        // A decided conflict is no longer open. If the object changed meanwhile, the conflict stays
        // open with the newer remote values.
        while let Some(parked) = billing.conflicts().get(&parked.id) {
            println!();
            support::show(&parked.conflict);
            if !decide(&parked).await? {
                break;
            }
        }
    }
    println!("\nstill open: {}", billing.conflicts().list().len());
    Ok(())
}

fn open(server: &Server, store: &Path) -> Result<Client> {
    Ok(server.admin().conflict_storage(FileStore::open(store)?).build()?)
}

/// Ann and Ben edit the same objects in forms. Ben saves first.
async fn make_conflicts(server: &Server, store: &Path) -> Result<()> {
    let billing = open(server, store)?;
    let (ann, ben) = (billing.acting_for("ann"), billing.acting_for("ben"));
    let plan = support::make_plan(&billing, "Pro", 4900).await?;
    for customer in ["Acme", "Globex", "Initech"] {
        let form = support::subscribe(&billing, customer, &plan).await?;
        let bens = form.edited(|s| s.notes = format!("{customer} pays by invoice"));
        ben.subscriptions().save(&form, bens).await?;
        let anns = form.edited(|s| {
            s.notes = format!("{customer} pays by card");
            s.quantity = 3;
        });
        match ann.subscriptions().save(&form, anns).await {
            Err(Error::Unresolved(id)) => println!("Ann's edit of {customer} waits as {id}"),
            saved => return Err(format!("there should have been a conflict: {saved:?}").into()),
        }
    }
    Ok(())
}

/// Asks for one decision and applies it. `false` leaves the conflict for later.
async fn decide(parked: &Parked) -> Result<bool> {
    let decision = match ask("[m]ine  [t]heirs  [e]dit  [l]ater")?.as_deref() {
        Some("m") => Decision::Reapply,
        Some("t") => Decision::TakeRemote,
        Some("e") => match edit(parked)? {
            Some(object) => Decision::Send(object),
            None => return Ok(false),
        },
        Some("l") | None => return Ok(false),
        Some(_) => return Ok(true),
    };
    match parked.resolve(decision).await {
        Ok(_) => println!("resolved"),
        Err(Error::Unresolved(_)) => println!("it has just been changed again: look once more"),
        Err(error) => return Err(error.into()),
    }
    Ok(true)
}

/// The object with the edit applied, and with newly typed values where both wrote.
fn edit(parked: &Parked) -> Result<Option<Value>> {
    let mut object = parked.conflict.merged();
    for row in parked.conflict.diff().into_iter().filter(|row| row.clashes) {
        let Some(text) = ask(&format!("new value of {}", row.path))? else { return Ok(None) };
        let place = object.pointer_mut(&row.path).ok_or("both removed it")?;
        // Text is taken as typed, any other type as JSON.
        *place = if place.is_string() { text.into() } else { serde_json::from_str(&text)? };
    }
    Ok(Some(object))
}

/// Reads a line from the person; `None` at the end of the input.
fn ask(question: &str) -> Result<Option<String>> {
    print!("{question} > ");
    io::stdout().flush()?;
    Ok(io::stdin().lines().next().transpose()?.map(|line| line.trim().to_owned()))
}
