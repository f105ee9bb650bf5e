//! One writer: makes an edit, waits for its outcome, and makes the next one.

use crate::{
    ledger::{Edit, Fate, Ledger, Mark},
    support::Result,
};
use ifmatch::{
    Client, Error, PlanId, Subscription, SubscriptionId, SubscriptionStatus, Update, Versioned,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::Barrier,
    time::{Instant, sleep},
};

/// How long a form is open before it is saved.
const THINKING: Duration = Duration::from_millis(30);

/// Maximum number of notes kept; older ones are in the history.
const NOTES_MAX: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    Support,
    Billing,
}

impl Job {
    pub const ALL: [Self; 2] = [Self::Support, Self::Billing];

    pub fn name(self) -> &'static str {
        match self {
            Self::Support => "agent",
            Self::Billing => "job",
        }
    }

    /// The key name that the history records for its edits.
    pub fn key_name(self) -> &'static str {
        match self {
            Self::Support => "support-agent",
            Self::Billing => "billing-job",
        }
    }
}

/// An edit to be made.
struct Draft {
    /// The path that it changes.
    path: &'static str,
    form: bool,
    update: Update<'static, Subscription>,
}

impl Draft {
    /// An edit that runs again on the new state after a conflict.
    fn closure(path: &'static str, update: Update<'static, Subscription>) -> Self {
        Self { path, form: false, update }
    }

    /// A form that is merged with other writers' changes.
    fn form(path: &'static str, update: Update<'static, Subscription>) -> Self {
        Self { path, form: true, update }
    }
}

pub struct Writer {
    pub job: Job,
    pub name: String,
    pub client: Client,
    pub plans: [PlanId; 2],
    pub ledger: Arc<Ledger>,
}

impl Writer {
    pub async fn work(
        self,
        subscriptions: Vec<SubscriptionId>,
        start: Arc<Barrier>,
        until: Instant,
    ) -> Result<()> {
        let mut number = 0;
        let mut turn = subscriptions.iter().cycle();
        while let Some(id) = turn.next().filter(|_| number == 0 || Instant::now() < until) {
            number += 1;
            let mark = Mark { writer: self.name.clone(), number: number.to_string() };
            let draft = if number == 1 {
                // All agents have the same form open: one wins, all others conflict with it.
                let seen = self.client.subscriptions().get(id).await?;
                start.wait().await;
                self.rewrite_notes(&mark, seen)
            } else {
                self.draft(number, &mark, id).await?
            };
            self.send(draft, mark, id).await?;
        }
        Ok(())
    }

    async fn draft(&self, number: u32, mark: &Mark, id: &SubscriptionId) -> Result<Draft> {
        Ok(match self.job {
            _ if number.is_multiple_of(20) => self.rewrite_notes(mark, self.open_form(id).await?),
            Job::Support if number.is_multiple_of(4) => {
                self.fill_in(mark, self.open_form(id).await?)
            }
            Job::Support => self.add_note(mark, id),
            Job::Billing if number.is_multiple_of(4) => self.change_plan(mark, id),
            Job::Billing => self.change_status(mark, id),
        })
    }

    /// Makes the edit and records its outcome.
    async fn send(&self, draft: Draft, mark: Mark, id: &SubscriptionId) -> Result<()> {
        // All writers share a few objects, so several lost attempts are normal.
        let outcome = match draft.update.attempts_max(50).await {
            // The answer was lost. Asking again with the same key applies nothing twice.
            Err(Error::OutcomeUnknown(lost)) => {
                self.client.resume(*lost).await.and_then(ifmatch::Settled::versioned)
            }
            outcome => outcome,
        };
        let (fate, conflicts) = match outcome {
            Ok(written) => (Fate::Committed(written.version()), written.conflicts()),
            Err(Error::Unresolved(id)) => {
                let parked = self.client.conflicts().get(&id).ok_or("a conflict vanished")?;
                (Fate::Unresolved(id), parked.conflict.attempts)
            }
            Err(error) => return Err(error.into()),
        };
        let (job, subscription) = (self.job, id.clone());
        let Draft { path, form, .. } = draft;
        self.ledger.record(Edit { job, mark, subscription, path, form, fate, conflicts });
        Ok(())
    }

    async fn open_form(&self, id: &SubscriptionId) -> Result<Versioned<Subscription>> {
        let seen = self.client.subscriptions().get(id).await?;
        sleep(THINKING).await;
        Ok(seen)
    }

    /// Replaces the notes. Conflicts with every other change of the notes.
    fn rewrite_notes(&self, mark: &Mark, seen: Versioned<Subscription>) -> Draft {
        let edited = seen.edited(|s| {
            let news = match self.job {
                Job::Support => "wants an invoice",
                Job::Billing => "card declined",
            };
            s.notes = format!("{} #{}: {news}", mark.writer, mark.number);
            put(mark, s);
        });
        Draft::form("/notes", self.client.subscriptions().save(seen, edited))
    }

    /// Changes a field that no other writer changes, so it always merges.
    fn fill_in(&self, mark: &Mark, seen: Versioned<Subscription>) -> Draft {
        let edited = seen.edited(|s| put(mark, s));
        Draft::form("/metadata", self.client.subscriptions().save(seen, edited))
    }

    /// Adds a note on top of the current notes.
    fn add_note(&self, mark: &Mark, id: &SubscriptionId) -> Draft {
        let mark = mark.clone();
        let update = self.client.subscriptions().update(id, move |s| {
            let kept: Vec<&str> = s.notes.lines().take(NOTES_MAX - 1).collect();
            s.notes = format!("{} #{}: called\n{}", mark.writer, mark.number, kept.join("\n"));
            put(&mark, s);
        });
        Draft::closure("/notes", update)
    }

    /// Changes between active and past due.
    fn change_status(&self, mark: &Mark, id: &SubscriptionId) -> Draft {
        let mark = mark.clone();
        let update = self.client.subscriptions().update(id, move |s| {
            s.status = match s.status {
                SubscriptionStatus::Active => SubscriptionStatus::PastDue,
                _ => SubscriptionStatus::Active,
            };
            put(&mark, s);
        });
        Draft::closure("/status", update)
    }

    /// Changes to the other plan.
    fn change_plan(&self, mark: &Mark, id: &SubscriptionId) -> Draft {
        let (mark, [basic, pro]) = (mark.clone(), self.plans.clone());
        let update = self.client.subscriptions().update(id, move |s| {
            s.plan_id = if s.plan_id == basic { pro.clone() } else { basic.clone() };
            put(&mark, s);
        });
        Draft::closure("/plan_id", update)
    }
}

/// Every writer has its own metadata key, so that the marks never conflict.
fn put(mark: &Mark, subscription: &mut Subscription) {
    subscription.metadata.insert(mark.writer.clone(), mark.number.clone());
}
