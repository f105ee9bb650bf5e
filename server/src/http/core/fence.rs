//! `X-Lock` and `X-Lock-Fence`: the grant of a lock that a write must hold.

use super::{caller::Caller, problem::HttpProblem};
use actix_web::HttpRequest;
use ifmatch_domain::core::Fence;
use ifmatch_types::{Code, WorkspaceId, lock::is_lock_name};

/// Reads `X-Lock` and `X-Lock-Fence`, which must be sent together, and with `X-Lock-Workspace`.
///
/// Without `X-Lock-Workspace`, the lock is in the space of a scoped key's workspace, else in the
/// installation's own.
///
/// # Errors
///
/// `MALFORMED_PRECONDITION` if one is missing or not valid.
pub fn read(request: &HttpRequest, caller: &Caller) -> Result<Option<Fence>, HttpProblem> {
    let text = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap_or(""));
    let workspace_id = text("x-lock-workspace").map(str::parse::<WorkspaceId>).transpose();
    let named = workspace_id
        .map_err(|_| malformed("X-Lock-Workspace must be the id of a workspace: wsp_…"))?;
    match (text("x-lock"), text("x-lock-fence")) {
        (None, None) if named.is_none() => Ok(None),
        (Some(lock), Some(fence)) if is_lock(lock) => {
            let number = fence_number(fence)
                .ok_or_else(|| malformed("X-Lock-Fence must be the number of a grant"))?;
            let workspace_id = named.or_else(|| caller.actor.workspace_id.clone());
            let workspace_id = workspace_id.map(|id| id.to_string());
            Ok(Some(Fence { workspace_id, lock: lock.to_owned(), number }))
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

fn fence_number(text: &str) -> Option<i64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn malformed(detail: &str) -> HttpProblem {
    HttpProblem::new(Code::MalformedPrecondition, detail)
}

#[cfg(test)]
mod tests {
    use super::{Caller, Code, Fence, WorkspaceId, read as read_fence};
    use actix_web::test::TestRequest;
    use ifmatch_domain::core::Actor;
    use ifmatch_types::{ApiKeyId, Role};

    const WORKSPACE: &str = "wsp_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f";

    fn caller(workspace_id: Option<&str>) -> Caller {
        let key_id = ApiKeyId::from_unchecked("key_1");
        let workspace_id = workspace_id.map(WorkspaceId::from_unchecked);
        Caller {
            line_id: key_id.clone(),
            key_id,
            actor: Actor { workspace_id, ..Actor::without_key("test") },
            role: Role::Agent,
            on_behalf_of: None,
        }
    }

    fn read_by(caller: &Caller, headers: &[(&str, &str)]) -> Result<Option<Fence>, Code> {
        let request = headers.iter().fold(TestRequest::default(), |request, header| {
            request.insert_header((header.0, header.1))
        });
        read_fence(&request.to_http_request(), caller).map_err(|problem| problem.code())
    }

    fn read(headers: &[(&str, &str)]) -> Result<Option<Fence>, Code> {
        read_by(&caller(None), headers)
    }

    #[test]
    fn a_fence_names_a_lock_and_a_number() {
        assert_eq!(read(&[]), Ok(None));
        for lock in ["global//nightly-bill", "function/invoices/a:b.c_d"] {
            let both = [("X-Lock", lock), ("X-Lock-Fence", "7")];
            let fence = Fence { workspace_id: None, lock: lock.to_owned(), number: 7 };
            assert_eq!(read(&both), Ok(Some(fence)));
            assert_eq!(read(&both[..1]), Err(Code::MalformedPrecondition), "{lock}");
        }
        for alone in [("X-Lock-Fence", "7"), ("X-Lock-Workspace", WORKSPACE)] {
            assert_eq!(read(&[alone]), Err(Code::MalformedPrecondition), "{alone:?}");
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

    #[test]
    fn a_lock_is_in_the_space_that_is_named_or_in_that_of_the_key() {
        let two = [("X-Lock", "global//a"), ("X-Lock-Fence", "7")];
        let three = [two[0], two[1], ("X-Lock-Workspace", WORKSPACE)];
        let space = |read: Result<Option<Fence>, Code>| read.unwrap().unwrap().workspace_id;
        assert_eq!(space(read(&two)), None);
        assert_eq!(space(read(&three)).as_deref(), Some(WORKSPACE));
        let scoped = caller(Some("wsp_own"));
        assert_eq!(space(read_by(&scoped, &two)).as_deref(), Some("wsp_own"));
        assert_eq!(space(read_by(&scoped, &three)).as_deref(), Some(WORKSPACE));
        for wrong in ["", "a", "sub_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f"] {
            let three = [two[0], two[1], ("X-Lock-Workspace", wrong)];
            assert_eq!(read(&three), Err(Code::MalformedPrecondition), "{wrong}");
        }
    }
}
