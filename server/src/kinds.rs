//! The one list of kinds in the server: the entity of each kind, and the paths of its objects.

use ifmatch_types::Kind;
use std::borrow::Cow;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

/// An entity on the wire: the state of an object of one kind.
pub trait Entity: ToSchema + 'static {
    /// Its kind.
    const KIND: Kind;
}

/// The place of a kind's objects in the API's paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// In their own collection: `/v1/plans/{id}`.
    Collection,
    /// Below the scope that owns them: `/v1/workspaces/{id}/packages/{id}`.
    Scope(&'static str),
}

macro_rules! kinds {
    ($($kind:ident: $home:expr;)*) => {
        $(impl Entity for ifmatch_types::$kind {
            const KIND: Kind = Kind::$kind;
        })*

        /// The name and the schema of a kind's entity.
        pub fn entity(kind: Kind) -> (Cow<'static, str>, RefOr<Schema>) {
            match kind {
                $(Kind::$kind => (ifmatch_types::$kind::name(), ifmatch_types::$kind::schema()),)*
            }
        }

        /// The place of a kind's objects in the API's paths.
        pub const fn home(kind: Kind) -> Home {
            match kind {
                $(Kind::$kind => $home,)*
            }
        }
    };
}

kinds! {
    Plan: Home::Collection;
    Workspace: Home::Collection;
    Namespace: Home::Collection;
    Subscription: Home::Collection;
    Invoice: Home::Collection;
    Feature: Home::Collection;
    Package: Home::Collection;
    Assignment: Home::Scope("packages");
    Boost: Home::Scope("boosts");
    Bookable: Home::Collection;
    Booking: Home::Collection;
    Product: Home::Collection;
    Server: Home::Collection;
}
