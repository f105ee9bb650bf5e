//! Query strings, read strictly: a mistyped name is an error and not a parameter that does nothing.

use super::problem::HttpProblem;
use actix_web::{HttpRequest, HttpResponse, web};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ifmatch_types::Page;
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, str::FromStr};

/// Items on a page unless the request says otherwise, and at most.
pub const LIMIT_DEFAULT: i64 = 50;
/// The largest `?limit=`.
pub const LIMIT_MAX: i64 = 200;

/// The parameters of a request; whatever is left in the end was not asked for by anybody.
#[derive(Debug)]
pub struct Params(BTreeMap<String, String>);

impl Params {
    /// Reads a query string.
    ///
    /// # Errors
    ///
    /// A parameter that is there twice.
    pub fn of(request: &HttpRequest) -> Result<Self, HttpProblem> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string())
            .map_err(|_| HttpProblem::invalid("?", "cannot be read as a query string"))?;
        let mut params = BTreeMap::new();
        for (name, value) in pairs.into_inner() {
            if name.contains('\0') || value.contains('\0') {
                return Err(HttpProblem::invalid("?", "must not contain the character U+0000"));
            }
            if params.insert(name.clone(), value).is_some() {
                return Err(HttpProblem::invalid(format!("?{name}"), "is there twice"));
            }
        }
        Ok(Self(params))
    }

    /// Takes a parameter as text.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// Takes a parameter of some type.
    ///
    /// # Errors
    ///
    /// If it is not of that type; `expected` says what is.
    pub fn parsed<T: FromStr>(
        &mut self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, HttpProblem> {
        let Some(text) = self.0.remove(name) else { return Ok(None) };
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(HttpProblem::invalid(format!("?{name}"), format!("must be {expected}"))),
        }
    }

    /// Takes `?limit=`.
    ///
    /// # Errors
    ///
    /// If it is not from 1 to 200.
    pub fn limit(&mut self) -> Result<i64, HttpProblem> {
        let expected = format!("a whole number from 1 to {LIMIT_MAX}");
        match self.parsed("limit", &expected)? {
            None => Ok(LIMIT_DEFAULT),
            Some(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
            Some(_) => Err(HttpProblem::invalid("?limit", format!("must be {expected}"))),
        }
    }

    /// Takes `?cursor=`.
    ///
    /// # Errors
    ///
    /// If this server did not make it.
    pub fn cursor<T: DeserializeOwned>(&mut self) -> Result<Option<T>, HttpProblem> {
        let Some(text) = self.0.remove("cursor") else { return Ok(None) };
        let bytes = URL_SAFE_NO_PAD.decode(text.as_bytes()).ok();
        // A text with U+0000 in it is no place in any list.
        let bytes = bytes.filter(|bytes| !bytes.windows(6).any(|part| part == br"\u0000"));
        let cursor = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        cursor.map(Some).ok_or_else(|| {
            HttpProblem::invalid("?cursor", "must be a next_cursor of this same list")
        })
    }

    /// Refuses what nobody took.
    ///
    /// # Errors
    ///
    /// Names each parameter that this path does not have.
    pub fn end(self) -> Result<(), HttpProblem> {
        if self.0.is_empty() {
            return Ok(());
        }
        let errors = self.0.into_keys().map(|name| ifmatch_types::FieldError {
            path: format!("?{name}"),
            message: "is not a parameter of this path".to_owned(),
        });
        Err(HttpProblem::fields(errors.collect()))
    }
}

/// One page of what was asked for with one item beyond its limit.
pub fn page<T: Serialize>(
    mut items: Vec<T>,
    limit: i64,
    place: impl FnOnce(&T) -> String,
) -> HttpResponse {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    let next_cursor = items.last().filter(|_| more).map(place);
    HttpResponse::Ok().json(Page { items, next_cursor })
}

/// A cursor: opaque to clients.
pub fn cursor(place: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(place).expect("a place in a list is plain JSON"))
}
