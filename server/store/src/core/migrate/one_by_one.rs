//! Migrations on PostgreSQL, one statement a call.
//!
//! PostgreSQL takes a whole script in one call. Citus needs one statement a call. All of them are
//! still one transaction.

use diesel::{
    QueryResult,
    connection::{BoxableConnection, SimpleConnection},
    migration::{Migration, MigrationMetadata, MigrationName, MigrationSource, Result},
    pg::Pg,
};
use diesel_migrations::EmbeddedMigrations;
use std::any::Any;

/// Migrations whose statements are sent one after the other.
pub(super) struct OneByOne(pub(super) EmbeddedMigrations);

impl MigrationSource<Pg> for OneByOne {
    fn migrations(&self) -> Result<Vec<Box<dyn Migration<Pg>>>> {
        let whole = MigrationSource::<Pg>::migrations(&self.0)?;
        Ok(whole.into_iter().map(Split::of).collect())
    }
}

struct Split(Box<dyn Migration<Pg>>);

impl Split {
    fn of(whole: Box<dyn Migration<Pg>>) -> Box<dyn Migration<Pg>> {
        Box::new(Self(whole))
    }
}

impl Migration<Pg> for Split {
    fn run(&self, connection: &mut dyn BoxableConnection<Pg>) -> Result<()> {
        let mut script = Script::default();
        self.0.run(&mut script)?;
        for statement in statements(&script.0) {
            connection.batch_execute(statement).map_err(|error| {
                let name = self.0.name();
                format!("migration {name}: {error}, in the statement: {}", statement.trim())
            })?;
        }
        Ok(())
    }

    fn revert(&self, connection: &mut dyn BoxableConnection<Pg>) -> Result<()> {
        self.0.revert(connection)
    }

    fn metadata(&self) -> &dyn MigrationMetadata {
        self.0.metadata()
    }

    fn name(&self) -> &dyn MigrationName {
        self.0.name()
    }
}

/// The text of a migration, which Diesel shows to a connection only.
#[derive(Default)]
struct Script(String);

impl SimpleConnection for Script {
    fn batch_execute(&mut self, query: &str) -> QueryResult<()> {
        self.0.push_str(query);
        Ok(())
    }
}

impl BoxableConnection<Pg> for Script {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// The statements of a script. Each ends with the line that ends with a semicolon.
fn statements(script: &str) -> impl Iterator<Item = &str> {
    let ends = |line: &str| line.trim_end().ends_with(';') && !line.trim_start().starts_with("--");
    let mut rest = script;
    std::iter::from_fn(move || {
        let mut length = 0usize;
        for line in rest.split_inclusive('\n') {
            length = length.saturating_add(line.len());
            if ends(line) {
                break;
            }
        }
        let (statement, later) = rest.split_at_checked(length)?;
        rest = later;
        (!statement.trim().is_empty()).then_some(statement)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_split_at_the_ends_of_its_statements() {
        let script = "-- A comment; it goes on;\nCREATE TABLE a (\n    b text -- one;two\n);\n\n\
                      DROP TABLE a;\nDROP TABLE b";
        let found: Vec<&str> = statements(script).map(str::trim).collect();
        assert_eq!(
            found,
            [
                "-- A comment; it goes on;\nCREATE TABLE a (\n    b text -- one;two\n);",
                "DROP TABLE a;",
                "DROP TABLE b",
            ],
        );
        assert_eq!(statements("\n").count(), 0);
    }
}
