//! Lists of objects: filters, order and pages, in the same way for every kind.

use super::{
    caller::Caller,
    page::PageText,
    problem::{HttpProblem, HttpResult},
    query::{Params, cursor},
};
use crate::{app::App, kinds::Entity};
use actix_web::{HttpRequest, web};
use ifmatch_domain::entitlement::ScopeRef;
use ifmatch_store::{Field, ListQuery, SortKey, filters, sorts};
use ifmatch_types::{
    Kind, WorkspaceId,
    id::{is_some_id, is_well_formed},
};
use serde_json::Value;

/// The filter that the path sets and not the query: the workspace or namespace.
pub const SCOPE: &str = "scope";

/// `GET /v1/{collection}`
pub async fn list<E: Entity>(
    app: web::Data<App>,
    request: HttpRequest,
    caller: Caller,
) -> HttpResult {
    list_kind(E::KIND, None, caller.actor.workspace_id.as_ref(), &app, &request).await
}

/// Lists the objects of one kind: all of them, or those of one workspace or namespace. A scoped key
/// gets those that hang on `own`.
pub async fn list_kind(
    kind: Kind,
    scope: Option<&ScopeRef>,
    own: Option<&WorkspaceId>,
    app: &web::Data<App>,
    request: &HttpRequest,
) -> HttpResult {
    let mut params = Params::of(request)?;
    let limit = params.limit()?;
    let sort = read_sort(kind, params.text("sort").as_deref())?;
    let after: Option<(String, String, String)> = params.cursor()?;
    let mut query = ListQuery::new(kind, sort, limit);
    for field in filters(kind) {
        let of_scope = scope.filter(|_| field.0 == SCOPE).map(ScopeRef::to_string);
        if let Some(value) = of_scope.or_else(|| params.text(field.0)) {
            check_reference(field.0, &value)?;
            query.filter(*field, &value).map_err(|expected| {
                HttpProblem::invalid(format!("?{}", field.0), format!("must be {expected}"))
            })?;
        }
    }
    if let Some(own) = own {
        query.within(own.as_str());
    }
    params.end()?;
    if let Some((sorted_by, value, id)) = after {
        let same_list = sorted_by == sort_name(sort) && query.after(&value, id).is_some();
        if !same_list {
            return Err(HttpProblem::invalid("?cursor", "must be a next_cursor of this same list"));
        }
    }
    let page = app.reads.run(move |db| {
        PageText::read(limit, |last: Option<&Value>, rows| {
            let mut query = query.clone();
            query.set_limit(rows);
            if let Some(last) = last {
                query.after(&text_of(last, sort.field.0), text_of(last, "id"));
            }
            db.list(&query)
        })
    });
    Ok(page.await?.answer(|last| {
        cursor(&(sort_name(sort), text_of(last, sort.field.0), text_of(last, "id")))
    }))
}

/// A field as it is in a cursor.
fn text_of(item: &Value, name: &str) -> String {
    match item.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    }
}

/// Refuses an id of another type in a filter: `plan_id=wsp_…` would silently find nothing.
fn check_reference(name: &str, id: &str) -> Result<(), HttpProblem> {
    match name.strip_suffix("_id").and_then(Kind::from_name) {
        Some(kind) if is_some_id(id) && !is_well_formed(id, kind.id_prefix()) => {
            Err(HttpProblem::wrong_id_type(kind.id_prefix()))
        }
        Some(_) | None => Ok(()),
    }
}

fn read_sort(kind: Kind, text: Option<&str>) -> Result<SortKey, HttpProblem> {
    let allowed = sorts(kind);
    let (name, descending) = match text {
        None => return Ok(SortKey { field: default_sort(allowed), descending: false }),
        Some(text) => match text.strip_prefix('-') {
            Some(name) => (name, true),
            None => (text, false),
        },
    };
    match allowed.iter().find(|(allowed, _)| *allowed == name) {
        Some(field) => Ok(SortKey { field: *field, descending }),
        None => {
            let names: Vec<&str> = allowed.iter().map(|(name, _)| *name).collect();
            let message = format!("must be one of {}, or - and one of them", names.join(", "));
            Err(HttpProblem::invalid("?sort", message))
        }
    }
}

fn default_sort(allowed: &[Field]) -> Field {
    *allowed.first().expect("every collection can be sorted")
}

fn sort_name(sort: SortKey) -> String {
    format!("{}{}", if sort.descending { "-" } else { "" }, sort.field.0)
}
