use openapi::apis::configuration::Configuration;
use openapi::apis::plans_api::{create_plan, get_plan, update_plan, UpdatePlanError};
use openapi::apis::{Error, ResponseContent};
use openapi::models::{Code, Interval, PlanFields, PlanPatch, Verdict};
use std::env::var;
use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    let client = Configuration {
        base_path: var("SERVER").unwrap(),
        bearer_access_token: Some(var("KEY").unwrap()),
        ..Configuration::default()
    };
    let fields = PlanFields {
        code: format!("rust-{}", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()),
        name: "Basic".to_owned(),
        currency: "USD".to_owned(),
        amount: 1000,
        interval: Interval::Month,
        ..PlanFields::default()
    };
    let plan = create_plan(&client, fields, None, None, None, None, None).unwrap();
    let read = get_plan(&client, &plan.id, None, None).unwrap();
    let update = |if_match, name: &str, version| {
        let patch = PlanPatch { name: Some(name.to_owned()), version, ..PlanPatch::default() };
        update_plan(&client, &plan.id, patch, None, if_match, None, None, None, None, None, None, None, None, None)
    };
    let changed = update(Some("\"1\""), &format!("{}!", read.name), None).unwrap();
    let stale = update(Some("\"1\""), "stale", None);
    let named = update(None, "stale", Some(1));
    for (answer, expected) in [(stale, 412), (named, 409)] {
        // The variants are untagged, so a problem of any status is read as the first one.
        let Err(Error::ResponseError(ResponseContent {
            status, entity: Some(UpdatePlanError::Status400(problem)), ..
        })) = answer else { panic!("{answer:?}") };
        let merge = problem.merge.as_ref().unwrap();
        assert_eq!((status.as_u16(), problem.code), (expected, Code::ConflictVersionMismatch), "{problem:?}");
        assert_eq!((problem.current_version, merge.verdict), (Some(changed.version), Verdict::Overlap), "{problem:?}");
    }
    println!("openapi-generator, rust: GET, PATCH, 412 and 409 are typed");
}
