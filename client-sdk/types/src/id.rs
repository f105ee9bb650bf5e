//! Ids: a type prefix and a UUIDv7, so that they sort by time and cannot be mixed up.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Why a text is not an id of the wanted type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdError {
    /// The prefix the id should have, underscore included.
    pub expected_prefix: &'static str,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected an id that begins with {}", self.expected_prefix)
    }
}

impl std::error::Error for IdError {}

/// Whether `text` is `prefix` followed by the 32 lower-case hexadecimal digits of a UUID.
pub fn is_well_formed(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|rest| {
        rest.len() == 32 && rest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Whether `text` is a well-formed id of any type, known here or not: a prefix of three letters and
/// the digits of a UUID.
pub fn is_some_id(text: &str) -> bool {
    let prefix = text.get(..4).unwrap_or_default();
    prefix.ends_with('_')
        && prefix.bytes().take(3).all(|b| b.is_ascii_lowercase())
        && is_well_formed(text, prefix)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The prefix of every id of this type, underscore included.
            pub const PREFIX: &'static str = $prefix;

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Wraps a text without checking it. If it is not an id, the server refuses it.
            pub fn from_unchecked(text: impl Into<String>) -> Self {
                Self(text.into())
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                if is_well_formed(text, $prefix) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(IdError { expected_prefix: $prefix })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

id!(
    /// The id of a [`Plan`](crate::Plan): `pln_…`.
    PlanId, "pln_"
);
id!(
    /// The id of a [`Workspace`](crate::Workspace): `wsp_…`.
    WorkspaceId, "wsp_"
);
id!(
    /// The id of a [`Namespace`](crate::Namespace): `nsp_…`.
    NamespaceId, "nsp_"
);
id!(
    /// The id of a [`Subscription`](crate::Subscription): `sub_…`.
    SubscriptionId, "sub_"
);
id!(
    /// The id of an [`Invoice`](crate::Invoice): `inv_…`.
    InvoiceId, "inv_"
);
id!(
    /// The id of a [`Payment`](crate::Payment): `pay_…`.
    PaymentId, "pay_"
);
id!(
    /// The id of an [`ApiKey`](crate::ApiKey): `key_…`.
    ApiKeyId, "key_"
);
id!(
    /// The id of a [`Feature`](crate::Feature): `ftr_…`.
    FeatureId, "ftr_"
);
id!(
    /// The id of a [`Package`](crate::Package): `pkg_…`.
    PackageId, "pkg_"
);
id!(
    /// The id of an [`Assignment`](crate::Assignment): `asg_…`.
    AssignmentId, "asg_"
);
id!(
    /// The id of a [`Boost`](crate::Boost): `bst_…`.
    BoostId, "bst_"
);
id!(
    /// The id of a [`UsageRecord`](crate::UsageRecord): `usg_…`.
    RecordId, "usg_"
);
id!(
    /// The id of a [`Hold`](crate::Hold): `hld_…`.
    HoldId, "hld_"
);
id!(
    /// The id of a [`Bookable`](crate::Bookable): `bkb_…`.
    BookableId, "bkb_"
);
id!(
    /// The id of a [`Booking`](crate::Booking): `bkg_…`.
    BookingId, "bkg_"
);
id!(
    /// The id of a [`Transfer`](crate::Transfer), and of the reservation that it made: `trf_…`.
    TransferId, "trf_"
);
id!(
    /// The id of a [`Product`](crate::Product): `prd_…`.
    ProductId, "prd_"
);
id!(
    /// The id of a [`Server`](crate::Server), which is its external id on the panel: `srv_…`.
    ServerId, "srv_"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_another_type_is_refused_with_the_prefix_that_was_expected() {
        let plan = "pln_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f";
        assert!(plan.parse::<PlanId>().is_ok());
        assert_eq!(plan.parse::<SubscriptionId>(), Err(IdError { expected_prefix: "sub_" }));
        assert!("pln_0193F0C0A1B27C3D8E4F5A6B7C8D9E0F".parse::<PlanId>().is_err());
        assert!("pln_".parse::<PlanId>().is_err());
    }
}
