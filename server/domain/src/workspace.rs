//! Workspaces: the paying customers.

use crate::{Rejection, Resource, Scope, fields::Errors, resource::usual_parts};
use ifmatch_types::{Kind, Workspace, WorkspaceFields, WorkspaceId};

impl Resource for Workspace {
    type Entity = Workspace;
    type Fields = WorkspaceFields;

    const KIND: Kind = Kind::Workspace;
    const FIELDS: &'static [&'static str] = &["name", "email", "currency", "metadata"];
    const SET_ONCE: &'static [&'static str] = &[];
    const KEPT_IF_ABSENT: &'static [&'static str] = &[];

    usual_parts!(workspaces, |record| *record);

    fn check(fields: &mut WorkspaceFields, errors: &mut Errors) {
        errors.text("/name", &fields.name, 1, 200);
        if let Some(email) = &fields.email {
            errors.text("/email", email, 3, 320);
            if !email.contains('@') {
                errors.push("/email", "must be an e-mail address");
            }
        }
        if let Some(currency) = &fields.currency {
            errors.currency("/currency", currency);
        }
        errors.metadata(&fields.metadata);
    }

    fn create(
        fields: WorkspaceFields,
        id: String,
        scope: &mut Scope<'_>,
    ) -> Result<Self, Rejection> {
        Ok(Self {
            id: WorkspaceId::from_unchecked(id),
            version: 1,
            name: fields.name,
            email: fields.email,
            currency: fields.currency,
            metadata: fields.metadata,
            created_at: scope.now,
            updated_at: scope.now,
            updated_by: scope.meta.actor.name.clone(),
        })
    }

    fn change(&self, fields: WorkspaceFields, _scope: &mut Scope<'_>) -> Result<Self, Rejection> {
        Ok(Self {
            name: fields.name,
            email: fields.email,
            currency: fields.currency,
            metadata: fields.metadata,
            ..self.clone()
        })
    }

    fn delete(&self, scope: &mut Scope<'_>) -> Result<(), Rejection> {
        // Whoever makes something in a workspace locks the workspace's row, so that what was
        // counted when this row was locked is still true at the commit.
        let id = self.id.as_str();
        let state = &scope.state;
        let used_in_batch = state
            .namespaces
            .iter()
            .any(|row| row.deleted.is_none() && row.record.workspace_id.as_str() == id)
            || state.subscriptions.iter().any(|row| {
                row.deleted.is_none() && row.record.subscription.workspace_id.as_str() == id
            })
            || state
                .invoices
                .iter()
                .any(|row| row.deleted.is_none() && row.record.workspace_id.as_str() == id);
        if used_in_batch || state.is_used_elsewhere(id) {
            return Err(Rejection::WorkspaceInUse);
        }
        Ok(())
    }
}

/// The living workspace that a field names.
pub(crate) fn referenced(id: &WorkspaceId, scope: &Scope<'_>) -> Result<Workspace, Rejection> {
    refuse_other_type(Kind::Workspace, "/workspace_id", id.as_str())?;
    match scope.state.workspaces.get(id.as_str()) {
        Some(row) if row.deleted.is_none() => Ok(row.record.clone()),
        _ => Err(Rejection::invalid("/workspace_id", "no such workspace")),
    }
}

/// Refuses a well-formed id of another type in a field that names an object.
pub(crate) fn refuse_other_type(kind: Kind, path: &str, id: &str) -> Result<(), Rejection> {
    match Kind::of_id(id) {
        Some(other) if other != kind => {
            Err(Rejection::WrongIdType { path: path.to_owned(), expected_prefix: kind.id_prefix() })
        }
        _ => Ok(()),
    }
}
