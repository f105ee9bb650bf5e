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

/// An enumeration of the wire: snake_case names, which the database stores too.
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:tt,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
            #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
            pub enum $name {
                $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)*
            }

            impl $name {
                /// Every value there is.
                pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

                /// The name on the wire and in the database.
                pub const fn name(self) -> &'static str {
                    match self {
                        $(Self::$variant => $text,)*
                    }
                }

                /// The value with this name.
                pub fn from_name(name: &str) -> Option<Self> {
                    match name {
                        $($text => Some(Self::$variant),)*
                        _ => None,
                    }
                }
            }

            // A text and nothing else: a derived one would also take `{"open": null}` for `open`.
            impl<'de> serde::Deserialize<'de> for $name {
                fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    let name = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                    let unknown = || serde::de::Error::unknown_variant(&name, &[$($text,)*]);
                    Self::from_name(&name).ok_or_else(unknown)
                }
            }
        )*
    };
}
