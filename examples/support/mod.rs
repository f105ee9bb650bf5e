//! What all examples need: a server and some objects.
//!
//! `IFMATCH_URL` and `IFMATCH_KEY` name a server and an admin's key. Without a key the example
//! starts a private server, which ends with it and leaves nothing behind.
#![allow(dead_code, reason = "each example uses a part of it")]

use ifmatch::{
    By, Client, ClientBuilder, Conflict, NewApiKey, Plan, PlanFields, PlanStatus, Role,
    Subscription, SubscriptionFields, Timestamp, Versioned, WorkspaceFields,
};
use std::{
    env, fmt,
    fs::{self, File},
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use uuid::Uuid;

pub type Result<T> = std::result::Result<T, Failure>;

/// Why an example ended early.
pub struct Failure(String);

impl<E: fmt::Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Debug for Failure {
    /// `main` prints the error with `Debug`, so this is the text for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The server that an example talks to.
pub struct Server {
    url: String,
    key: String,
    private: Option<Private>,
}

/// A private server with its database. Both are removed when it is dropped.
struct Private {
    process: Child,
    dir: TempDir,
}

impl Server {
    /// The server named by the environment, else a private one.
    pub fn find() -> Result<Self> {
        if let Ok(key) = env::var("IFMATCH_KEY") {
            let url =
                env::var("IFMATCH_URL").unwrap_or_else(|_| "http://127.0.0.1:8080".to_owned());
            println!("using the server at {url}\n");
            return Ok(Self { url, key, private: None });
        }
        let server = Self::start("sqlite://ifmatch.db", &[])?;
        let url = &server.url;
        println!("started a private server at {url} (set IFMATCH_KEY to use another)\n");
        Ok(server)
    }

    /// A private server on a database, with settings that no running one would have.
    pub fn start(database_url: &str, settings: &[(&str, &str)]) -> Result<Self> {
        let key = format!("example-{}", Uuid::now_v7().simple());
        let (private, url) = Private::start(&key, database_url, settings)?;
        Ok(Self { url, key, private: Some(private) })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// A client with the admin's key.
    pub fn client(&self) -> Result<Client> {
        Ok(self.builder(&self.key).build()?)
    }

    /// The builder of a client with the admin's key.
    pub fn admin(&self) -> ClientBuilder {
        self.builder(&self.key)
    }

    /// The builder of a client with another key.
    pub fn builder(&self, key: &str) -> ClientBuilder {
        Client::builder(&self.url).key(key)
    }

    /// The server that `IFMATCH_URL` and `IFMATCH_KEY` name, for a process that an example starts.
    pub fn of_environment() -> Result<Self> {
        let (url, key) = (env::var("IFMATCH_URL")?, env::var("IFMATCH_KEY")?);
        Ok(Self { url, key, private: None })
    }

    /// How to name this server to another process.
    pub fn environment(&self) -> [(&'static str, &str); 2] {
        [("IFMATCH_URL", &self.url), ("IFMATCH_KEY", &self.key)]
    }

    pub fn is_private(&self) -> bool {
        self.private.is_some()
    }
}

impl Private {
    fn start(key: &str, database_url: &str, settings: &[(&str, &str)]) -> Result<(Self, String)> {
        // Cargo puts examples into a directory beside the programs.
        let example = env::current_exe()?;
        let beside = example.parent().and_then(|examples| examples.parent());
        let program = beside.ok_or("the example is in no directory")?.join("ifmatch-server");
        let program = program.with_extension(env::consts::EXE_EXTENSION);
        if !program.is_file() {
            let message = "there is no ifmatch-server beside this example; build it first with \
                `cargo build --release`, or set IFMATCH_KEY (and IFMATCH_URL) to use a running one";
            return Err(message.into());
        }
        let dir = TempDir::with_prefix("ifmatch-example-")?;
        let log = dir.path().join("server.log");
        let mut command = Command::new(program);
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("IFMATCH_") {
                command.env_remove(name);
            }
        }
        let mut process = command
            .current_dir(dir.path())
            .args(["--listen", "127.0.0.1:0", "--database-url", database_url])
            .env("IFMATCH_ADMIN_KEY", key)
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()?;
        let stdout = process.stdout.take().ok_or("the server has no stdout")?;
        let private = Self { process, dir };
        for line in BufReader::new(stdout).lines() {
            if let Some(url) = line?.strip_prefix("listening on ") {
                return Ok((private, url.to_owned()));
            }
        }
        Err(format!("the server did not start:\n{}", fs::read_to_string(log)?).into())
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // The directory is removed after this.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A name that is unique on the server.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", Uuid::now_v7().simple())
}

/// Creates an active plan.
pub async fn make_plan(billing: &Client, name: &str, amount: i64) -> Result<Versioned<Plan>> {
    let fields = PlanFields {
        code: unique(&name.to_lowercase()),
        name: name.to_owned(),
        currency: "USD".to_owned(),
        amount,
        status: Some(PlanStatus::Active),
        ..Default::default()
    };
    Ok(billing.plans().create(fields).await?)
}

/// Creates a subscription of a new customer.
pub async fn subscribe(
    billing: &Client,
    customer: &str,
    plan: &Plan,
) -> Result<Versioned<Subscription>> {
    let workspace = WorkspaceFields { name: customer.to_owned(), ..Default::default() };
    let workspace = billing.workspaces().create(workspace).await?;
    let fields = SubscriptionFields {
        workspace_id: workspace.id.clone(),
        plan_id: plan.id.clone(),
        ..Default::default()
    };
    Ok(billing.subscriptions().create(fields).await?)
}

/// Creates an agent's key. Its writes are recorded under its name.
pub async fn make_agent_key(billing: &Client, name: &str) -> Result<String> {
    // The key expires, because the example does not revoke it.
    let expires = jiff::Timestamp::now().checked_add(Duration::from_secs(24 * 60 * 60))?;
    let expires_at = Some(Timestamp::from(expires));
    let key = NewApiKey { expires_at, ..NewApiKey::new(name, Role::Agent) };
    let issued = billing.api_keys().create(key).await?;
    Ok(issued.secret.ok_or("the key's secret got lost on the way")?)
}

/// Prints a conflict for a person.
pub fn show<T>(conflict: &Conflict<T>) {
    let (kind, id) = (conflict.kind.name(), &conflict.resource_id);
    let (base, now) = (conflict.base_version, conflict.remote_version);
    println!("{kind} {id}: edited at version {base}, now at version {now}");
    for row in conflict.diff().rows().iter().filter(|row| row.clashes) {
        let by = row.by.as_ref().map_or("somebody", who);
        println!("  {}", row.path);
        println!("    was     {}", row.base);
        println!("    yours   {}", row.local);
        println!("    theirs  {}  (by {by})", row.remote);
    }
}

/// The user who acted, or the program if no user was named.
pub fn who(by: &By) -> &str {
    by.on_behalf_of.as_deref().unwrap_or(&by.actor)
}
