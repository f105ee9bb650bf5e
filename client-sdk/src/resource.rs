//! The collections this crate knows, as types.

use ifmatch_types::{
    Assignment, AssignmentId, Bookable, BookableFields, BookableId, Booking, BookingFields,
    BookingId, Feature, FeatureFields, FeatureId, Invoice, InvoiceFields, InvoiceId, Kind,
    Namespace, NamespaceFields, NamespaceId, NewAssignment, Package, PackageFields, PackageId,
    Plan, PlanFields, PlanId, Product, ProductFields, ProductId, Server, ServerFields, ServerId,
    Subscription, SubscriptionFields, SubscriptionId, Version, Workspace, WorkspaceFields,
    WorkspaceId,
};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt;

mod sealed {
    pub trait Sealed {}
}

/// A kind of versioned object in a [`Collection`](crate::Collection).
///
/// Implemented for [`Plan`], [`Workspace`], [`Namespace`], [`Subscription`], [`Invoice`],
/// [`Feature`], [`Package`], [`Assignment`], [`Bookable`], [`Booking`], [`Product`] and [`Server`],
/// and sealed: the server knows no others.
pub trait Resource:
    sealed::Sealed
    + Clone
    + fmt::Debug
    + PartialEq
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// The type of its id.
    type Id: AsRef<str> + Clone + fmt::Debug + fmt::Display + Send + Sync + 'static;
    /// The fields for creating one.
    type Fields: Serialize + Send + Sync;
    /// Its kind on the wire.
    const KIND: Kind;

    /// Its id.
    fn id(&self) -> &Self::Id;
    /// Its version.
    fn version(&self) -> Version;
}

/// An object with free texts that can be redacted: all but an [`Assignment`].
pub trait Redactable: Resource {}

/// An object that can be deleted at once: all but an [`Assignment`], which is cancelled, and a
/// [`Server`], which is deprovisioned.
pub trait Deletable: Redactable {}

macro_rules! resources {
    ($($entity:ident, $fields:ident, $id:ident;)*) => {
        $(
            impl sealed::Sealed for $entity {}

            impl Resource for $entity {
                type Id = $id;
                type Fields = $fields;
                const KIND: Kind = Kind::$entity;

                fn id(&self) -> &$id {
                    &self.id
                }

                fn version(&self) -> Version {
                    self.version
                }
            }
        )*
    };
}

resources! {
    Plan, PlanFields, PlanId;
    Workspace, WorkspaceFields, WorkspaceId;
    Namespace, NamespaceFields, NamespaceId;
    Subscription, SubscriptionFields, SubscriptionId;
    Invoice, InvoiceFields, InvoiceId;
    Feature, FeatureFields, FeatureId;
    Package, PackageFields, PackageId;
    Assignment, NewAssignment, AssignmentId;
    Bookable, BookableFields, BookableId;
    Booking, BookingFields, BookingId;
    Product, ProductFields, ProductId;
    Server, ServerFields, ServerId;
}

macro_rules! deletable {
    ($($entity:ident),*) => {
        $(
            impl Redactable for $entity {}
            impl Deletable for $entity {}
        )*
    };
}

deletable!(
    Plan,
    Workspace,
    Namespace,
    Subscription,
    Invoice,
    Feature,
    Package,
    Bookable,
    Booking,
    Product
);

impl Redactable for Server {}
