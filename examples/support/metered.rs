//! A customer with a limit of a metered feature, for the examples about usage.

use super::support::{Result, unique};
use ifmatch::{
    Client, FeatureFields, Grant, GrantKind, PackageFields, Reset, Versioned, Workspace,
    WorkspaceFields,
};

/// Creates a feature whose usage resets every month. Returns its code.
pub async fn make_feature(billing: &Client, name: &str) -> Result<String> {
    let feature = FeatureFields {
        code: unique(name),
        name: name.to_owned(),
        reset: Reset::Monthly,
        ..Default::default()
    };
    Ok(billing.features().create(feature).await?.code.clone())
}

/// Creates a customer with a package that grants `limit` units of the feature.
pub async fn make_customer(
    billing: &Client,
    name: &str,
    feature: &str,
    limit: i64,
) -> Result<Versioned<Workspace>> {
    let grant = Grant { feature: feature.to_owned(), grant: GrantKind::Limit, limit: Some(limit) };
    let package = PackageFields {
        code: unique("package"),
        is_base: true,
        grants: vec![grant],
        ..Default::default()
    };
    let package = billing.packages().create(package).await?;
    let workspace = WorkspaceFields { name: name.to_owned(), ..Default::default() };
    let workspace = billing.workspaces().create(workspace).await?;
    billing.assignments(&workspace).assign(&package.code).await?;
    Ok(workspace)
}
