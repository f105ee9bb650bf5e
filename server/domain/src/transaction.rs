//! Several operations, all or nothing, in one commit.

use crate::{
    CreateObject, DeleteObject, Outcome, Rejection, Scope, UpdateObject, decide::dispatch_kind,
    versioned,
};
use ifmatch_types::{Kind, Version};

/// Several operations, all or nothing.
#[derive(Clone, Debug)]
pub struct Transact {
    /// What to do, in order; 1–50.
    pub operations: Vec<Operation>,
}

/// One operation of a transaction.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Make an object.
    Create(CreateObject),
    /// Change an object.
    Update(UpdateObject),
    /// Delete an object.
    Delete(DeleteObject),
    /// Assert an object's version.
    Check {
        /// The collection.
        kind: Kind,
        /// The object.
        id: String,
        /// The version it must be at.
        version: Version,
    },
}

impl Transact {
    pub(crate) fn decide(&self, scope: &mut Scope<'_>) -> Result<Outcome, Rejection> {
        let mut outcomes = Vec::with_capacity(self.operations.len());
        for (failed_index, operation) in self.operations.iter().enumerate() {
            let outcome = operation.decide(scope).map_err(|rejection| Rejection::Operation {
                failed_index,
                rejection: Box::new(rejection),
            })?;
            outcomes.push(outcome);
        }
        Ok(Outcome::Transaction(outcomes))
    }
}

impl Operation {
    fn decide(&self, scope: &mut Scope<'_>) -> Result<Outcome, Rejection> {
        match self {
            Self::Create(create) => {
                dispatch_kind!(create.kind, R => versioned::create::<R>(create, scope))
            }
            Self::Update(update) => {
                dispatch_kind!(update.kind, R => versioned::update::<R>(update, scope))
            }
            Self::Delete(delete) => {
                dispatch_kind!(delete.kind, R => versioned::delete::<R>(delete, scope))
            }
            Self::Check { kind, id, version } => {
                dispatch_kind!(*kind, R => versioned::check::<R>(id, *version, scope))
            }
        }
    }
}
