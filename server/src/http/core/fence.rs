//! `X-Lock` and `X-Lock-Fence`: the grant of a lock that a write must hold.

use super::problem::HttpProblem;
use actix_web::HttpRequest;
use ifmatch_domain::core::Fence;
use ifmatch_types::Code;

/// Reads `X-Lock` and `X-Lock-Fence`, which must be sent together, and with `X-Lock-Workspace`.
///
/// # Errors
///
/// `MALFORMED_PRECONDITION` if one is missing or not valid.
pub fn read(request: &HttpRequest) -> Result<Option<Fence>, HttpProblem> {
    let text = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap_or(""));
    match (text("x-lock"), text("x-lock-fence")) {
        (None, None) if text("x-lock-workspace").is_none() => Ok(None),
        (Some(lock), Some(fence)) if is_lock(lock) => match fence_number(fence) {
            Some(number) => Ok(Some(Fence { lock: lock.to_owned(), number })),
            None => Err(malformed("X-Lock-Fence must be the number of a grant")),
        },
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

fn fence_number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn malformed(detail: &str) -> HttpProblem {
    HttpProblem::new(Code::MalformedPrecondition, detail)
}

#[cfg(test)]
mod tests {
    use super::{Code, Fence, read as read_fence};
    use actix_web::test::TestRequest;

    #[test]
    fn a_fence_names_a_lock_and_a_number() {
        let read = |headers: &[(&str, &str)]| {
            let request = headers.iter().fold(TestRequest::default(), |request, header| {
                request.insert_header((header.0, header.1))
            });
            read_fence(&request.to_http_request()).map_err(|problem| problem.code())
        };
        assert_eq!(read(&[]), Ok(None));
        for lock in ["global//nightly-bill", "function/invoices/a:b.c_d"] {
            let both = [("X-Lock", lock), ("X-Lock-Fence", "7")];
            assert_eq!(read(&both), Ok(Some(Fence { lock: lock.to_owned(), number: 7 })));
            assert_eq!(read(&both[..1]), Err(Code::MalformedPrecondition), "{lock}");
        }
        for alone in ["X-Lock-Fence", "X-Lock-Workspace"] {
            assert_eq!(read(&[(alone, "7")]), Err(Code::MalformedPrecondition), "{alone}");
        }
        let long = format!("global//{}", "k".repeat(201));
        let wrong =
            ["a", "global/f/a", "function//a", "global//a b", "global//a/b", "other//a", &long];
        for lock in wrong {
            let both = [("X-Lock", lock), ("X-Lock-Fence", "7")];
            assert_eq!(read(&both), Err(Code::MalformedPrecondition), "{lock}");
        }
        for number in ["", "+7", "-7", "7.0", "x", "99999999999999999999"] {
            let both = [("X-Lock", "global//a"), ("X-Lock-Fence", number)];
            assert_eq!(read(&both), Err(Code::MalformedPrecondition), "{number}");
        }
    }
}
