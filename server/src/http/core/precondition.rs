//! The preconditions of a request, read from the raw headers (RFC 9110 §13.1, §8.8.3).
//!
//! A typed header is not used. One that drops malformed tags would make `If-Match: 5` look like no
//! precondition at all.

use super::{endpoint::EndpointInfo, problem::HttpProblem, tag};
use actix_web::{HttpMessage, HttpRequest, http::header};
use ifmatch_domain::core::{Claim, Precondition, Tags};
use ifmatch_types::{Code, Kind, Version};

/// A precondition, and whether it came in the header. If it did and fails, the status is 412.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// What was named.
    pub precondition: Precondition,
    /// Whether the header named it.
    pub in_header: bool,
}

/// The conditional headers of a request.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    /// `If-Match`.
    pub if_match: Option<Tags>,
    /// `If-None-Match`.
    pub if_none_match: Option<Tags>,
}

impl Headers {
    /// Reads both.
    ///
    /// # Errors
    ///
    /// `MALFORMED_PRECONDITION` if one is neither `*` nor a list of quoted tags.
    pub fn of(request: &HttpRequest) -> Result<Self, HttpProblem> {
        Ok(Self {
            if_match: tags_in(request, &header::IF_MATCH, "If-Match")?,
            if_none_match: tags_in(request, &header::IF_NONE_MATCH, "If-None-Match")?,
        })
    }

    fn is_empty(&self) -> bool {
        self.if_match.is_none() && self.if_none_match.is_none()
    }

    /// The claim that they make about the object in the path, beside what a write names itself.
    ///
    /// # Errors
    ///
    /// `MALFORMED_PRECONDITION` if there is no object that they could be about.
    pub fn claim(&self, request: &HttpRequest) -> Result<Option<Claim>, HttpProblem> {
        if self.is_empty() {
            return Ok(None);
        }
        let info = request.extensions().get::<EndpointInfo>().copied();
        if !info.is_some_and(|info| is_about_an_object(info.path)) {
            return Err(nothing_to_compare());
        }
        let names_version = info.is_some_and(|info| info.names_version);
        let matches = self.if_match.clone().filter(|_| !names_version);
        if matches.is_none() && self.if_none_match.is_none() {
            return Ok(None);
        }
        // An id that names no object is told by the handler.
        let about = named_objects(request).last();
        let excludes = self.if_none_match.clone();
        Ok(about.map(|(kind, id)| Claim { kind, id, matches, excludes }))
    }

    /// Combines `If-Match` with the version in the body or the query.
    ///
    /// # Errors
    ///
    /// `MALFORMED_PRECONDITION` if the two contradict each other.
    pub fn and(&self, version: Option<Version>) -> Result<Named, HttpProblem> {
        match (&self.if_match, version) {
            (None | Some(Tags::Any), None) => {
                Ok(Named { precondition: Precondition::Missing, in_header: false })
            }
            (None, Some(version)) => {
                Ok(Named { precondition: Precondition::Version(version), in_header: false })
            }
            (Some(Tags::Versions(tags)), None) => {
                Ok(Named { precondition: Precondition::Tags(tags.clone()), in_header: true })
            }
            (Some(Tags::Versions(tags)), Some(version)) => match tags.as_slice() {
                [tag] if *tag == version => {
                    Ok(Named { precondition: Precondition::Tags(tags.clone()), in_header: true })
                }
                _ => Err(malformed(
                    "If-Match and the version in the request name different versions",
                )),
            },
            (Some(Tags::Any), Some(_)) => {
                Err(malformed("If-Match: * and a version in the request contradict each other"))
            }
        }
    }
}

impl Named {
    /// The problem as the caller gets it. A conflict over the header is a 412.
    pub fn blame(&self, problem: HttpProblem) -> HttpProblem {
        if self.in_header { problem.over_header() } else { problem }
    }
}

/// The versioned objects that a path names, outermost first.
pub fn named_objects(request: &HttpRequest) -> impl Iterator<Item = (Kind, String)> {
    let ids = request.match_info().iter().map(|(_, id)| id.to_owned());
    ids.filter_map(|id| Some((Kind::of_id(&id)?, id)))
}

/// Whether a pattern leads to a versioned object, or below one.
pub fn is_about_an_object(pattern: &str) -> bool {
    let segments: Vec<&str> = pattern.split('/').collect();
    segments.windows(2).any(|pair| match pair {
        [collection, parameter] => {
            parameter.starts_with('{')
                && Kind::ALL.iter().any(|kind| kind.collection() == *collection)
        }
        _ => false,
    })
}

/// Refuses a read whose conditions are malformed, or that names a version of nothing.
///
/// # Errors
///
/// `MALFORMED_PRECONDITION`. (Where nothing has a tag, `If-None-Match` is always met.)
pub fn check_read(request: &HttpRequest, info: Option<EndpointInfo>) -> Result<(), HttpProblem> {
    if !request.method().is_safe() {
        return Ok(());
    }
    let conditions = Headers::of(request)?;
    match conditions.if_match {
        Some(_) if !info.is_some_and(|info| info.versioned) => Err(nothing_to_compare()),
        _ => Ok(()),
    }
}

fn nothing_to_compare() -> HttpProblem {
    malformed("this request is about no version of an object, so there is nothing to compare")
}

fn tags_in(
    request: &HttpRequest,
    name: &header::HeaderName,
    shown: &str,
) -> Result<Option<Tags>, HttpProblem> {
    let lines: Vec<&str> = request
        .headers()
        .get_all(name)
        .map(|value| value.to_str())
        .collect::<Result<_, _>>()
        .map_err(|_| malformed(&format!("{shown} has characters that no tag has")))?;
    if lines.is_empty() {
        return Ok(None);
    }
    // Several lines of one header are one list (RFC 9110 §5.3).
    let text = lines.join(",");
    if text.trim() == "*" {
        return Ok(Some(Tags::Any));
    }
    let versions = tag::versions(&text).ok_or_else(|| {
        malformed(&format!("{shown} must be * or a list of quoted tags such as \"7\""))
    })?;
    Ok(Some(Tags::Versions(versions)))
}

fn malformed(detail: &str) -> HttpProblem {
    HttpProblem::new(Code::MalformedPrecondition, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn read_header(value: &str, version: Option<Version>) -> Result<Named, Code> {
        let request = TestRequest::default().insert_header(("If-Match", value)).to_http_request();
        Headers::of(&request)
            .and_then(|headers| headers.and(version))
            .map_err(|problem| problem.code())
    }

    fn tags(value: &str) -> Precondition {
        read_header(value, None).unwrap().precondition
    }

    #[test]
    fn a_malformed_header_is_refused() {
        assert_eq!(read_header("5", None), Err(Code::MalformedPrecondition));
        let request = TestRequest::default().insert_header(("If-None-Match", "\"5"));
        let read = Headers::of(&request.to_http_request()).map_err(|problem| problem.code());
        assert_eq!(read.err(), Some(Code::MalformedPrecondition));
    }

    #[test]
    fn lists_and_agreement_with_the_body() {
        let list = tags("\"3\", W/\"7\" ,\"x\",\"5\"");
        assert_eq!(list, Precondition::Tags(vec![3, 7, 5]));
        assert_eq!((list.named(5), list.named(4)), (Some(5), Some(7)));
        assert_eq!(read_header("\"3\"", Some(4)), Err(Code::MalformedPrecondition));
        assert_eq!(read_header("*", Some(4)), Err(Code::MalformedPrecondition));
        assert!(read_header("W/\"4-gzip\"", Some(4)).unwrap().precondition.matches(4));
        assert_eq!(tags("*"), Precondition::Missing);
        let two_lines = TestRequest::default()
            .append_header(("If-Match", "\"3\""))
            .append_header(("If-Match", "\"5\""));
        let named = Headers::of(&two_lines.to_http_request()).unwrap().and(None).unwrap();
        assert_eq!(named.precondition, Precondition::Tags(vec![3, 5]));
    }

    #[test]
    fn patterns_of_objects() {
        for pattern in ["/v1/plans/{id}", "/v1/workspaces/{id}/usage/holds/{hold_id}/settle"] {
            assert!(is_about_an_object(pattern), "{pattern}");
        }
        for pattern in ["/v1/plans", "/v1/transactions", "/v1/api-keys/{id}", "/v1/billing-runs"] {
            assert!(!is_about_an_object(pattern), "{pattern}");
        }
    }
}
