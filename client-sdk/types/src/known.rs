//! Strict reading of enumerations: for requests and for what the database holds.
//!
//! Put `#[serde(deserialize_with = "known::read")]` on every enumeration of a request. A name that
//! this version does not know is then an error that lists the allowed ones.

use serde::{Deserialize, Deserializer};

/// An enumeration of the wire, or an optional one.
pub trait Known: Sized {
    /// Reads a known name. Any other one is an error.
    ///
    /// # Errors
    ///
    /// If it is not a text, or a name that this version does not know.
    fn read_known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

impl<T: Known> Known for Option<T> {
    fn read_known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Strict<T>(T);

        impl<'de, T: Known> Deserialize<'de> for Strict<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                T::read_known(deserializer).map(Self)
            }
        }

        Ok(Option::<Strict<T>>::deserialize(deserializer)?.map(|strict| strict.0))
    }
}

/// Reads an enumeration strictly; for serde's `deserialize_with`.
///
/// # Errors
///
/// If it is not a text, or a name that this version does not know.
pub fn read<'de, D: Deserializer<'de>, T: Known>(deserializer: D) -> Result<T, D::Error> {
    T::read_known(deserializer)
}

#[cfg(test)]
mod tests {
    use crate::{Package, PackageFields, PlanFields, PlanStatus, Product, ProductFields};
    use serde_json::json;

    #[test]
    fn a_request_refuses_an_unknown_name_and_lists_the_known_ones() {
        let fields = |interval: &str, status: &str| {
            json!({"code": "c", "name": "n", "currency": "EUR", "amount": 1,
                "interval": interval, "status": status})
        };
        let read = |fields| serde_json::from_value::<PlanFields>(fields);
        assert_eq!(read(fields("day", "active")).unwrap().status, Some(PlanStatus::Active));
        let allowed = "expected one of `day`, `week`, `month`, `year`";
        let message = read(fields("eon", "active")).unwrap_err().to_string();
        assert_eq!(message, format!("unknown variant `eon`, {allowed}"));
        assert!(read(fields("day", "frozen")).is_err());
        let mut without = fields("day", "active");
        without["status"] = json!(null);
        assert_eq!(read(without).unwrap().status, None);
    }

    #[test]
    fn grants_are_read_leniently_in_an_answer_and_strictly_in_a_request() {
        let grants = json!([{"feature": "f", "grant": "half", "share": 1}]);
        let at = "2026-11-22T01:06:00.000000Z";
        let package = json!({"id": "pkg_1", "version": 1, "code": "p", "name": "", "is_base": false,
            "is_stackable": false, "grants": grants, "status": "frozen", "created_at": at,
            "updated_at": at, "updated_by": "a"});
        let package: Package = serde_json::from_value(package).unwrap();
        assert_eq!(package.grants[0].grant.name(), "half");
        assert_eq!(package.status.name(), "frozen");
        let request = json!({"code": "p", "grants": [{"feature": "f", "grant": "half"}]});
        assert!(serde_json::from_value::<PackageFields>(request).is_err());
    }

    #[test]
    fn the_parts_of_a_product_are_read_leniently_in_an_answer_and_strictly_in_a_request() {
        let product = |part: &str| {
            let mut product = json!({"name": "Small", "price_credits": 5, "egg": 1,
                "docker_image": "i", "startup": "s", "environment": {},
                "limits": {"memory": 1024, "disk": 4096},
                "feature_limits": {"backups": 2}, "deploy": {"locations": [1]},
                "max_per_workspace": null, "status": "active"});
            product[part]["added_later"] = json!(1);
            product
        };
        for part in ["limits", "feature_limits", "deploy"] {
            let fields = serde_json::from_value::<ProductFields>(product(part));
            let message = fields.unwrap_err().to_string();
            assert!(message.starts_with("unknown field `added_later`"), "{message}");
            let mut answer = product(part);
            for (name, value) in [("id", "prd_1"), ("updated_by", "a")] {
                answer[name] = json!(value);
            }
            answer["version"] = json!(1);
            for name in ["created_at", "updated_at"] {
                answer[name] = json!("2026-11-22T01:06:00.000000Z");
            }
            let read: Product = serde_json::from_value(answer).unwrap();
            assert_eq!((read.limits.disk, read.limits.io, read.limits.swap), (4096, 500, 0));
            assert_eq!((read.feature_limits.backups, read.deploy.locations), (2, vec![1]));
        }
    }
}
