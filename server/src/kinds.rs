//! The one list of kinds in the server: each kind's entity on the wire, and where its objects are.

use ifmatch_types::Kind;
use std::borrow::Cow;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

/// An entity of the wire: the state of the objects of one kind.
pub trait Entity: ToSchema + 'static {
    /// Its kind.
    const KIND: Kind;
}

/// Where the objects of a kind are addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// In a collection of their own: `/v1/plans/{id}`.
    Collection,
    /// In the workspace or namespace that has them: `/v1/workspaces/{id}/packages/{id}`.
    Scope(&'static str),
}

macro_rules! kinds {
    ($($kind:ident: $home:expr;)*) => {
        $(impl Entity for ifmatch_types::$kind {
            const KIND: Kind = Kind::$kind;
        })*

        /// A kind's entity: the name of its schema, and the schema.
        pub fn entity(kind: Kind) -> (Cow<'static, str>, RefOr<Schema>) {
            match kind {
                $(Kind::$kind => (ifmatch_types::$kind::name(), ifmatch_types::$kind::schema()),)*
            }
        }

        /// Where the objects of a kind are addressed.
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
}
