//! Query strings, read strictly: a mistyped name is an error and is not ignored.

use super::{page::PageText, problem::HttpProblem};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, str::FromStr, time::Duration};

/// Maximum `?wait_ms=`. Common proxies give up after 60 s.
pub const WAIT_MAX_MS: u32 = 45_000;

/// Default of `?limit=`.
pub const LIMIT_DEFAULT: i64 = 50;
/// The largest `?limit=`.
pub const LIMIT_MAX: i64 = 200;

/// A query string. It is decoded once and kept in the request's extensions.
#[derive(Clone, Debug)]
pub struct Query(Option<Vec<(String, String)>>);

impl Query {
    /// The query string of a request.
    pub fn of(request: &HttpRequest) -> Self {
        if request.query_string().is_empty() {
            return Self(Some(Vec::new()));
        }
        if let Some(decoded) = request.extensions().get::<Self>() {
            return decoded.clone();
        }
        let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
        let decoded = Self(pairs.ok().map(web::Query::into_inner));
        request.extensions_mut().insert(decoded.clone());
        decoded
    }

    /// Whether it has this parameter with this value.
    pub fn has(&self, name: &str, value: &str) -> bool {
        let mut pairs = self.0.iter().flatten();
        pairs.any(|pair| pair.0 == name && pair.1 == value)
    }

    /// Its parameters.
    ///
    /// # Errors
    ///
    /// `VALIDATION_FAILED` if it cannot be decoded or has a parameter twice.
    pub fn params(self) -> Result<Params, HttpProblem> {
        let unreadable = || HttpProblem::invalid("?", "cannot be read as a query string");
        let mut params = BTreeMap::new();
        for (name, value) in self.0.ok_or_else(unreadable)? {
            if name.contains('\0') || value.contains('\0') {
                let message = "must not contain the character U+0000";
                return Err(HttpProblem::invalid(format!("?{}", name.replace('\0', "")), message));
            }
            if params.insert(name.clone(), value).is_some() {
                return Err(HttpProblem::invalid(format!("?{name}"), "is there twice"));
            }
        }
        Ok(Params(params))
    }
}

/// The parameters of a request. A handler takes those it knows; the others are refused.
#[derive(Debug)]
pub struct Params(BTreeMap<String, String>);

impl Params {
    /// The parameters of a request's query string.
    ///
    /// # Errors
    ///
    /// As [`Query::params`].
    pub fn of(request: &HttpRequest) -> Result<Self, HttpProblem> {
        Query::of(request).params()
    }

    /// Takes a parameter as text.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// Takes a parameter of some type.
    ///
    /// # Errors
    ///
    /// If it is not of that type. `expected` describes a valid value.
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

    /// Takes a parameter that is one of `names`.
    ///
    /// # Errors
    ///
    /// If it is none of them.
    pub fn one_of<T>(
        &mut self,
        name: &str,
        names: &[&str],
        from_name: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, HttpProblem> {
        let Some(text) = self.0.remove(name) else { return Ok(None) };
        let expected = || format!("must be one of {}", names.join(", "));
        let found = from_name(&text);
        found.map(Some).ok_or_else(|| HttpProblem::invalid(format!("?{name}"), expected()))
    }

    /// Takes `?wait_ms=`.
    ///
    /// # Errors
    ///
    /// If it is not from 0 to [`WAIT_MAX_MS`].
    pub fn wait(&mut self) -> Result<Duration, HttpProblem> {
        let wait_ms: u32 =
            self.parsed("wait_ms", "a whole number of milliseconds")?.unwrap_or_default();
        if wait_ms > WAIT_MAX_MS {
            let message = format!("must be at most {WAIT_MAX_MS}");
            return Err(HttpProblem::invalid("?wait_ms", message));
        }
        Ok(Duration::from_millis(wait_ms.into()))
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
        // PostgreSQL cannot compare with U+0000, and none of our cursors has it.
        let bytes = bytes.filter(|bytes| !bytes.windows(6).any(|part| part == br"\u0000"));
        let cursor = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        cursor.map(Some).ok_or_else(|| {
            HttpProblem::invalid("?cursor", "must be a next_cursor of this same list")
        })
    }

    /// Refuses the parameters that were not taken.
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

/// A page of a list, from one item more than its limit.
pub fn page<T: Serialize>(
    items: Vec<T>,
    limit: i64,
    cursor_after: impl FnOnce(&T) -> String,
) -> HttpResponse {
    PageText::of(items, limit).answer(cursor_after)
}

/// A cursor after the item with this sort key. It is opaque to clients.
pub fn cursor(key: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(key).expect("a sort key is plain JSON"))
}
