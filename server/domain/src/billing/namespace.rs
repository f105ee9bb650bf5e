//! Namespaces: parts of a workspace.

use super::Rejection;
use crate::core::{
    Context, Errors, Resource, ScopedWrites, State, redactable, referenced, usual_parts,
};
use ifmatch_types::{Kind, Namespace, NamespaceFields, NamespaceId, Workspace};

impl Resource for Namespace {
    type Entity = Namespace;
    type Fields = NamespaceFields;

    const KIND: Kind = Kind::Namespace;
    const FIELDS: &'static [&'static str] = &["workspace_id", "name", "metadata"];
    const SET_ONCE: &'static [&'static str] = &["workspace_id"];
    const KEPT_IF_ABSENT: &'static [&'static str] = &[];

    const REFERENCES: &'static [(&'static str, Kind)] = &[("workspace_id", Kind::Workspace)];

    const SCOPED_WRITES: ScopedWrites = ScopedWrites::ALL;

    usual_parts!(namespaces, |record| *record);
    redactable!(|record| *record, { name: Text, metadata: Keys });

    fn workspace_id(&self, _: &State) -> Option<String> {
        Some(self.workspace_id.to_string())
    }

    fn check(fields: &mut NamespaceFields, errors: &mut Errors) {
        errors.reference("/workspace_id", fields.workspace_id.as_str());
        errors.text("/name", &fields.name, 1, 200);
        errors.metadata(&fields.metadata);
    }

    fn create(
        fields: NamespaceFields,
        id: String,
        ctx: &mut Context<'_>,
    ) -> Result<Self, Rejection> {
        referenced::<Workspace>("/workspace_id", fields.workspace_id.as_str(), ctx.state)?;
        Ok(Self {
            id: NamespaceId::from_unchecked(id),
            version: 1,
            workspace_id: fields.workspace_id,
            name: fields.name,
            metadata: fields.metadata,
            created_at: ctx.now,
            updated_at: ctx.now,
            updated_by: ctx.meta.actor.name.clone(),
        })
    }

    fn change(&self, fields: NamespaceFields, _: &mut Context<'_>) -> Result<Self, Rejection> {
        Ok(Self { name: fields.name, metadata: fields.metadata, ..self.clone() })
    }

    fn delete(&self, _: &mut Context<'_>) -> Result<(), Rejection> {
        Ok(())
    }
}
