//! The macro that declares a system's tables and makes them roll back.

/// Declares a system's tables.
///
/// Rules may change `objects` (versioned objects) and `tables` (other tables and lists). They never
/// change `facts`, which are only loaded.
macro_rules! tables {
    (
        $(#[$doc:meta])*
        pub struct $name:ident {
            objects { $($(#[$object_doc:meta])* $object:ident: $record:ty,)* }
            tables { $($(#[$table_doc:meta])* $table:ident: $table_type:ty,)* }
            facts { $($(#[$fact_doc:meta])* $fact:ident: $fact_type:ty,)* }
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $name {
            $($(#[$object_doc])* pub $object: $crate::core::Rows<$record>,)*
            $($(#[$table_doc])* pub $table: $table_type,)*
            $($(#[$fact_doc])* pub $fact: $fact_type,)*
        }

        impl $crate::core::Tables for $name {
            fn each(&self, visit: &mut dyn FnMut(&dyn $crate::core::Reversible)) {
                $(visit(&self.$object);)*
                $(visit(&self.$table);)*
            }

            fn each_mut(&mut self, visit: &mut dyn FnMut(&mut dyn $crate::core::Reversible)) {
                $(visit(&mut self.$object);)*
                $(visit(&mut self.$table);)*
            }

            fn objects(&self, kind: ifmatch_types::Kind) -> Option<&dyn $crate::core::Objects> {
                $(if kind == <$record as $crate::core::Resource>::KIND {
                    return Some(&self.$object);
                })*
                let _ = kind;
                None
            }
        }
    };
}
pub(crate) use tables;
