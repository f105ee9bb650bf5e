//! The two shapes of a type of the wire: objects with fields, and sets of names.

/// A type of the wire: JSON both ways, compared field by field, in the OpenAPI document.
macro_rules! wire {
    ($($item:item)*) => {
        $(
            #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
            #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
            $item
        )*
    };
}

/// An enumeration of the wire. The database stores the same names.
///
/// Answers are read leniently: a name from a newer server becomes `Unknown`, so that one new status
/// does not make a page unreadable. Requests and database rows are read strictly, by
/// [`known::read`](crate::known::read) and `from_name`.
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident {
        $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)*
    })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
            pub enum $name {
                $($(#[$variant_doc])* $variant,)*
                /// A name that this version of the crate does not know, from a newer server.
                Unknown(&'static str),
            }

            impl $name {
                /// Every value that this version knows.
                pub const ALL: [Self; [$($text,)*].len()] = [$(Self::$variant,)*];

                /// The name on the wire and in the database.
                pub const fn name(self) -> &'static str {
                    match self {
                        $(Self::$variant => $text,)*
                        Self::Unknown(name) => name,
                    }
                }

                /// The value with this name, if this version knows it.
                pub fn from_name(name: &str) -> Option<Self> {
                    match name {
                        $($text => Some(Self::$variant),)*
                        _ => None,
                    }
                }
            }

            impl serde::Serialize for $name {
                fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.serialize_str(self.name())
                }
            }

            impl<'de> serde::Deserialize<'de> for $name {
                fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    let name = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                    Ok(Self::from_name(&name).unwrap_or_else(|| Self::Unknown($crate::unknown::keep(&name))))
                }
            }

            impl $crate::known::Known for $name {
                fn read_known<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    let name = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                    let unknown = || serde::de::Error::unknown_variant(&name, &[$($text,)*]);
                    Self::from_name(&name).ok_or_else(unknown)
                }
            }

            // The document lists what the server knows. The derived schema would show `Unknown`, too.
            #[cfg(feature = "openapi")]
            const _: () = {
                $(#[$doc])*
                #[derive(utoipa::ToSchema)]
                #[expect(dead_code, reason = "only its schema is used")]
                enum $name {
                    $($(#[$variant_doc])* #[schema(rename = $text)] $variant,)*
                }

                impl utoipa::PartialSchema for self::$name {
                    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                        <$name as utoipa::PartialSchema>::schema()
                    }
                }

                impl utoipa::ToSchema for self::$name {}
            };
        )*
    };
}
