//! One writer: makes an edit, waits until the client tells what became of it, makes the next.

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

/// How long somebody looks at a form before saving it.
const THINKING: Duration = Duration::from_millis(30);

/// Notes are kept this short; the older ones are in the history.
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

    /// Under what the history records its edits.
    pub fn key_name(self) -> &'static str {
        match self {
            Self::Support => "support-agent",
            Self::Billing => "billing-job",
        }
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
            // The first edit is everybody's form on the first subscription, open at the same time:
            // one of them wins, and all others clash with it.
            if number == 1 {
                let seen = self.client.subscriptions().get(id).await?;
                start.wait().await;
                self.end(id, &mark, "/notes", true, self.rewrite_notes(&mark, seen)).await?;
                continue;
            }
            match (self.job, number % 20, number % 4) {
                (_, 0, _) => {
                    let seen = self.open_form(id).await?;
                    self.end(id, &mark, "/notes", true, self.rewrite_notes(&mark, seen)).await?;
                }
                (Job::Support, _, 0) => {
                    let seen = self.open_form(id).await?;
                    self.end(id, &mark, "/metadata", true, self.fill_in(&mark, seen)).await?;
                }
                (Job::Support, ..) => {
                    self.end(id, &mark, "/notes", false, self.add_note(&mark, id)).await?;
                }
                (Job::Billing, _, 0) => {
                    self.end(id, &mark, "/plan_id", false, self.change_plan(&mark, id)).await?;
                }
                (Job::Billing, ..) => {
                    self.end(id, &mark, "/status", false, self.change_status(&mark, id)).await?;
                }
            }
        }
        Ok(())
    }

    /// Makes the edit, and writes down what became of it.
    async fn end(
        &self,
        id: &SubscriptionId,
        mark: &Mark,
        path: &'static str,
        form: bool,
        update: Update<'_, Subscription>,
    ) -> Result<()> {
        // Everybody writes to the same few objects: losing a few times is ordinary here.
        let outcome = match update.attempts_max(50).await {
            // The answer got lost. Asking again with the same key does nothing twice.
            Err(Error::OutcomeUnknown(lost)) => {
                self.client.resume(*lost).await.and_then(ifmatch::Settled::versioned)
            }
            outcome => outcome,
        };
        let (fate, conflicts) = match outcome {
            Ok(written) => (Fate::Committed(written.version()), written.conflicts()),
            Err(Error::Unresolved(id)) => {
                let parked = self.client.conflicts().get(&id).ok_or("a conflict vanished")?;
                let conflicts = parked.conflict.attempts;
                (Fate::Unresolved(id), conflicts)
            }
            Err(error) => return Err(error.into()),
        };
        self.ledger.record(Edit {
            job: self.job,
            mark: mark.clone(),
            subscription: id.clone(),
            path,
            fate,
            conflicts,
            form,
        });
        Ok(())
    }

    async fn open_form(&self, id: &SubscriptionId) -> Result<Versioned<Subscription>> {
        let seen = self.client.subscriptions().get(id).await?;
        sleep(THINKING).await;
        Ok(seen)
    }

    /// A form in which the notes are written anew: clashes with whoever else wrote notes.
    fn rewrite_notes(
        &self,
        mark: &Mark,
        seen: Versioned<Subscription>,
    ) -> Update<'static, Subscription> {
        let edited = seen.edited(|s| {
            s.notes = match self.job {
                Job::Support => format!("{} #{}: wants an invoice", mark.writer, mark.number),
                Job::Billing => format!("{} #{}: card declined", mark.writer, mark.number),
            };
            put(mark, s);
        });
        self.client.subscriptions().save(seen, edited)
    }

    /// A form that touches what nobody else touches: goes on top of everything.
    fn fill_in(&self, mark: &Mark, seen: Versioned<Subscription>) -> Update<'static, Subscription> {
        let edited = seen.edited(|s| put(mark, s));
        self.client.subscriptions().save(seen, edited)
    }

    /// One more note above the others, whatever they are.
    fn add_note(&self, mark: &Mark, id: &SubscriptionId) -> Update<'static, Subscription> {
        let mark = mark.clone();
        self.client.subscriptions().update(id, move |s| {
            let kept: Vec<&str> = s.notes.lines().take(NOTES_MAX - 1).collect();
            s.notes = format!("{} #{}: called\n{}", mark.writer, mark.number, kept.join("\n"));
            put(&mark, s);
        })
    }

    /// Overdue, or no longer: whichever it is not.
    fn change_status(&self, mark: &Mark, id: &SubscriptionId) -> Update<'static, Subscription> {
        let mark = mark.clone();
        self.client.subscriptions().update(id, move |s| {
            s.status = match s.status {
                SubscriptionStatus::Active => SubscriptionStatus::PastDue,
                _ => SubscriptionStatus::Active,
            };
            put(&mark, s);
        })
    }

    /// To the other plan.
    fn change_plan(&self, mark: &Mark, id: &SubscriptionId) -> Update<'static, Subscription> {
        let (mark, [basic, pro]) = (mark.clone(), self.plans.clone());
        self.client.subscriptions().update(id, move |s| {
            s.plan_id = if s.plan_id == basic { pro.clone() } else { basic.clone() };
            put(&mark, s);
        })
    }
}

/// Every writer has a metadata key of its own, so that the marks themselves never clash.
fn put(mark: &Mark, subscription: &mut Subscription) {
    subscription.metadata.insert(mark.writer.clone(), mark.number.clone());
}
