//! The version that a write names, read from the raw header (RFC 9110 §13.1.1, §8.8.3).
//!
//! A typed header is not used. One that drops malformed tags would make `If-Match: 5` look like no
//! precondition at all.

use super::problem::HttpProblem;
use actix_web::{HttpRequest, http::header};
use ifmatch_domain::core::{NamedVersion, Precondition};
use ifmatch_types::{Code, Version};

/// A precondition, and whether it came in the header. If it did and fails, the status is 412.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// What was named.
    pub precondition: Precondition,
    /// Whether the header named it.
    pub in_header: bool,
}

/// The content of `If-Match`, before the rest of the request was read.
#[derive(Debug)]
pub struct Header(Option<IfMatch>);

/// Reads `If-Match`.
///
/// # Errors
///
/// `MALFORMED_PRECONDITION` if it is neither `*` nor a list of tags.
pub fn header(request: &HttpRequest) -> Result<Header, HttpProblem> {
    if_match(request).map(Header)
}

impl Header {
    /// Combines the header with the version in the body or the query.
    ///
    /// # Errors
    ///
    /// `MALFORMED_PRECONDITION` if the two contradict each other.
    pub fn and(self, version: Option<Version>) -> Result<Named, HttpProblem> {
        match (self.0, version) {
            (None, None) => Ok(Named { precondition: Precondition::Missing, in_header: false }),
            (None, Some(version)) => {
                Ok(Named { precondition: Precondition::Version(version), in_header: false })
            }
            (Some(IfMatch::Any), None) => {
                Ok(Named { precondition: Precondition::Missing, in_header: false })
            }
            (Some(IfMatch::Tags(tags)), None) => {
                Ok(Named { precondition: Precondition::Tags(tags), in_header: true })
            }
            (Some(IfMatch::Tags(tags)), Some(version)) => match tags.as_slice() {
                [tag] if tag.version == Some(version) => {
                    Ok(Named { precondition: Precondition::Tags(tags), in_header: true })
                }
                _ => Err(malformed(
                    "If-Match and the version in the request name different versions",
                )),
            },
            (Some(IfMatch::Any), Some(_)) => {
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

#[derive(Debug)]
enum IfMatch {
    Any,
    Tags(Vec<NamedVersion>),
}

fn if_match(request: &HttpRequest) -> Result<Option<IfMatch>, HttpProblem> {
    let lines: Vec<&str> = request
        .headers()
        .get_all(header::IF_MATCH)
        .map(|value| value.to_str())
        .collect::<Result<_, _>>()
        .map_err(|_| malformed("If-Match has characters that no tag has"))?;
    if lines.is_empty() {
        return Ok(None);
    }
    // Several lines of one header are one list (RFC 9110 §5.3).
    let text = lines.join(",");
    if text.trim() == "*" {
        return Ok(Some(IfMatch::Any));
    }
    let tags = tags(&text)
        .ok_or_else(|| malformed("If-Match must be * or a list of quoted tags such as \"7\""))?;
    Ok(Some(IfMatch::Tags(tags)))
}

/// Reads a list of entity tags. `None` if it is not one.
fn tags(text: &str) -> Option<Vec<NamedVersion>> {
    let mut rest = text;
    let mut tags = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return (!tags.is_empty()).then_some(tags);
        }
        let (weak, opaque) = match rest.strip_prefix("W/") {
            Some(opaque) => (true, opaque),
            None => (false, rest),
        };
        let (tag, after) = opaque.strip_prefix('"')?.split_once('"')?;
        let legal = |c: char| c == '!' || ('#'..='~').contains(&c) || !c.is_ascii();
        if !tag.chars().all(legal) {
            return None;
        }
        tags.push(NamedVersion { version: tag_version(tag), weak });
        rest = after.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
}

/// The version in a tag that this server made: no sign, no leading zero.
fn tag_version(tag: &str) -> Option<Version> {
    let version: Version = tag.parse().ok()?;
    (version >= 1 && version.to_string() == tag).then_some(version)
}

fn malformed(detail: &str) -> HttpProblem {
    HttpProblem::new(Code::MalformedPrecondition, detail)
}

/// Whether `If-None-Match` names this version, by weak comparison (RFC 9110 §13.1.2).
pub fn is_none_match(request: &HttpRequest, version: Version) -> bool {
    let values = request.headers().get_all(header::IF_NONE_MATCH);
    let texts: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
    let text = texts.join(",");
    text.trim() == "*"
        || tags(&text).is_some_and(|tags| tags.iter().any(|tag| tag.version == Some(version)))
}

/// Reads `X-Lock` and `X-Lock-Fence`, which must be sent together.
///
/// # Errors
///
/// `STALE_FENCE`, because this server grants no locks yet and no fence is current. Silently
/// ignoring a fence would be worse.
pub fn refuse_fence(request: &HttpRequest) -> Result<(), HttpProblem> {
    let text = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap_or(""));
    match (text("x-lock"), text("x-lock-fence")) {
        (None, None) => Ok(()),
        (Some(lock), Some(fence)) if is_lock(lock) && is_fence(fence) => {
            Err(HttpProblem::new(Code::StaleFence, "no current grant of this lock has this fence"))
        }
        _ => Err(malformed(
            "X-Lock: <scope>/<function>/<key> and X-Lock-Fence: <number> come together",
        )),
    }
}

fn is_lock(text: &str) -> bool {
    match text.split('/').collect::<Vec<_>>()[..] {
        ["global", "", key] => is_lock_name(key),
        ["function", function, key] => is_lock_name(function) && is_lock_name(key),
        _ => false,
    }
}

/// Whether this is the name of a lock's key or function: `^[A-Za-z0-9\-_:.]{1,200}$`.
fn is_lock_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:.".contains(&byte);
    (1..=200).contains(&text.len()) && text.bytes().all(is_allowed)
}

fn is_fence(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn read_header(value: &str, version: Option<Version>) -> Result<Named, Code> {
        let request = TestRequest::default().insert_header(("If-Match", value)).to_http_request();
        header(&request).and_then(|header| header.and(version)).map_err(|problem| problem.code())
    }

    #[test]
    fn what_is_not_a_list_of_quoted_tags_is_malformed() {
        for value in
            ["5", "\"5", "5\"", "\"5\" \"6\"", "W/5", "", ",", "\"a b\"", "*, \"5\"", "w/\"5\""]
        {
            assert_eq!(read_header(value, None), Err(Code::MalformedPrecondition), "{value}");
        }
    }

    #[test]
    fn tags_that_this_server_never_made_name_no_version() {
        for value in
            ["\"abc\"", "\"05\"", "\"+5\"", "\"\"", "\"-1\"", "\"0\"", "\"99999999999999999999\""]
        {
            let named = read_header(value, None).unwrap();
            assert_eq!(named.precondition.named(), None, "{value}");
            assert!(named.in_header);
        }
    }

    #[test]
    fn lists_weak_tags_and_agreement_with_the_body() {
        let list = read_header("\"3\", W/\"7\" ,\"5\"", None).unwrap().precondition;
        assert!(list.matches(3) && list.matches(5));
        assert!(!list.matches(7), "a weak tag never matches");
        assert_eq!(read_header("\"3\"", Some(4)), Err(Code::MalformedPrecondition));
        assert_eq!(read_header("*", Some(4)), Err(Code::MalformedPrecondition));
        assert!(read_header("\"4\"", Some(4)).unwrap().precondition.matches(4));
        assert_eq!(read_header("*", None).unwrap().precondition, Precondition::Missing);
    }

    #[test]
    fn a_fence_names_a_lock_and_a_number_and_is_never_ignored() {
        let refused = |headers: &[(&str, &str)]| {
            let request = headers.iter().fold(TestRequest::default(), |request, header| {
                request.insert_header((header.0, header.1))
            });
            refuse_fence(&request.to_http_request()).map_err(|problem| problem.code())
        };
        assert!(refused(&[]).is_ok());
        for lock in ["global//nightly-bill", "function/invoices/a:b.c_d"] {
            let both = [("X-Lock", lock), ("X-Lock-Fence", "7")];
            assert_eq!(refused(&both), Err(Code::StaleFence), "{lock}");
            assert_eq!(refused(&both[..1]), Err(Code::MalformedPrecondition), "{lock}");
        }
        assert_eq!(refused(&[("X-Lock-Fence", "7")]), Err(Code::MalformedPrecondition));
        let long = format!("global//{}", "k".repeat(201));
        let wrong =
            ["a", "global/f/a", "function//a", "global//a b", "global//a/b", "other//a", &long];
        for lock in wrong {
            let both = [("X-Lock", lock), ("X-Lock-Fence", "7")];
            assert_eq!(refused(&both), Err(Code::MalformedPrecondition), "{lock}");
        }
        for fence in ["", "+7", "-7", "7.0", "x", "99999999999999999999"] {
            let both = [("X-Lock", "global//a"), ("X-Lock-Fence", fence)];
            assert_eq!(refused(&both), Err(Code::MalformedPrecondition), "{fence}");
        }
    }
}
