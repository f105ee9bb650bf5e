//! Workspaces: the paying customers.

use super::{Need, Rejection};
use crate::core::{
    Context, DeleteObject, Errors, Resource, ScopedWrites, State, Wants, allow, redactable,
    usual_parts,
};
use ifmatch_types::{Kind, Workspace, WorkspaceFields, WorkspaceId};

impl Resource for Workspace {
    type Entity = Workspace;
    type Fields = WorkspaceFields;

    const KIND: Kind = Kind::Workspace;
    const FIELDS: &'static [&'static str] = &["name", "email", "currency", "metadata"];
    const SET_ONCE: &'static [&'static str] = &[];
    const KEPT_IF_ABSENT: &'static [&'static str] = &[];

    /// A scoped key may not change the currency either; see [`change`](Self::change).
    const SCOPED_WRITES: ScopedWrites = ScopedWrites { update: true, ..ScopedWrites::NONE };

    usual_parts!(workspaces, |record| *record);
    redactable!(|record| *record, { name: Text, email: Optional, metadata: Keys });

    fn workspace_id(&self, _: &State) -> Option<String> {
        Some(self.id.to_string())
    }

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
        ctx: &mut Context<'_>,
    ) -> Result<Self, Rejection> {
        Ok(Self {
            id: WorkspaceId::from_unchecked(id),
            version: 1,
            name: fields.name,
            email: fields.email,
            currency: fields.currency,
            metadata: fields.metadata,
            created_at: ctx.now,
            updated_at: ctx.now,
            updated_by: ctx.meta.actor.name.clone(),
        })
    }

    fn change(&self, fields: WorkspaceFields, ctx: &mut Context<'_>) -> Result<Self, Rejection> {
        allow(fields.currency == self.currency, ctx)?;
        Ok(Self {
            name: fields.name,
            email: fields.email,
            currency: fields.currency,
            metadata: fields.metadata,
            ..self.clone()
        })
    }

    fn delete(&self, ctx: &mut Context<'_>) -> Result<(), Rejection> {
        // Creating anything in a workspace locks the workspace's row. Once that row is locked here,
        // no new user can appear before the commit.
        let id = self.id.as_str();
        let state = &ctx.state;
        let used_in_batch = state
            .billing()
            .namespaces
            .iter()
            .any(|row| row.deleted.is_none() && row.record.workspace_id.as_str() == id)
            || state.billing().subscriptions.iter().any(|row| {
                row.deleted.is_none() && row.record.subscription.workspace_id.as_str() == id
            })
            || state
                .billing()
                .invoices
                .iter()
                .any(|row| row.deleted.is_none() && row.record.workspace_id.as_str() == id)
            || state.ledger().has_account_of(id)
            || state.provisioning().has_server_of(id);
        if used_in_batch || state.is_used_elsewhere(id) {
            return Err(Rejection::WorkspaceInUse);
        }
        Ok(())
    }

    fn want_for_delete<'c>(delete: &'c DeleteObject, wants: &mut Wants<'_, 'c, Need>) {
        wants.users(Kind::Workspace, &delete.id);
    }
}
