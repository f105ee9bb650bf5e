//! The API's documentation as a page: Swagger UI on this server's own `/openapi.json`.
//!
//! Everything is in the binary and nothing comes from elsewhere, so that the page works without a
//! network and the Content-Security-Policy can say so.

use actix_web::{
    HttpResponse,
    http::header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, ContentType, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
};
use std::sync::LazyLock;

/// Swagger UI sets style properties from scripts, which needs no `unsafe-inline`; its style sheet
/// holds pictures as `data:`.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

struct Asset {
    name: &'static str,
    content_type: &'static str,
    body: &'static str,
}

const ASSETS: [Asset; 3] = [
    Asset {
        name: "swagger-ui-bundle.js",
        content_type: "text/javascript; charset=utf-8",
        body: include_str!("../../assets/swagger-ui/swagger-ui-bundle.js"),
    },
    Asset {
        name: "swagger-ui.css",
        content_type: "text/css; charset=utf-8",
        body: include_str!("../../assets/swagger-ui/swagger-ui.css"),
    },
    Asset {
        name: "init.js",
        content_type: "text/javascript; charset=utf-8",
        body: include_str!("../../assets/docs/init.js"),
    },
];

/// The page names its assets by their content, so that they can be kept for ever.
static PAGE: LazyLock<String> = LazyLock::new(|| {
    let mut content = crc32fast::Hasher::new();
    for asset in &ASSETS {
        content.update(asset.body.as_bytes());
    }
    let version = format!("{:08x}", content.finalize());
    include_str!("../../assets/docs/index.html").replace("{{version}}", &version)
});

/// The page itself: `GET /docs`.
pub fn page() -> HttpResponse {
    HttpResponse::Ok()
        .content_type(ContentType::html())
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((X_FRAME_OPTIONS, "DENY"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(PAGE.as_str())
}

/// One of the page's files: `GET /docs/{name}`. `None` if it has no file of that name.
pub fn asset(name: &str) -> Option<HttpResponse> {
    let asset = ASSETS.iter().find(|asset| asset.name == name)?;
    let answer = HttpResponse::Ok()
        .content_type(asset.content_type)
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .body(asset.body);
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the attribute is set to, in order: `src="…"`.
    fn values<'a>(html: &'a str, attribute: &str) -> Vec<&'a str> {
        let opening = format!(" {attribute}=\"");
        html.split(opening.as_str()).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
    }

    #[test]
    fn every_file_the_page_asks_for_is_there() {
        let sources = [values(&PAGE, "src"), values(&PAGE, "href")].concat();
        let files: Vec<_> = sources.iter().filter_map(|s| s.strip_prefix("docs/")).collect();
        assert_eq!(files.len(), ASSETS.len(), "{files:?}");
        for file in files {
            let (name, version) = file.split_once("?v=").unwrap();
            assert!(asset(name).is_some(), "{name}");
            assert_eq!(version.len(), 8, "{version}");
        }
    }

    #[test]
    fn nothing_comes_from_elsewhere() {
        for source in [values(&PAGE, "src"), values(&PAGE, "href")].concat() {
            assert!(!source.contains("//"), "{source}");
        }
        assert!(!PAGE.contains("<style") && !PAGE.contains("<script>"));
        let page = page();
        let policy = page.headers().get(CONTENT_SECURITY_POLICY).unwrap().to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(!policy.contains("http") && !policy.contains("unsafe") && !policy.contains('*'));
    }

    #[test]
    fn files_are_kept_for_ever_and_the_page_is_not() {
        let cache = |answer: &HttpResponse| answer.headers().get(CACHE_CONTROL).unwrap().clone();
        assert!(cache(&asset("init.js").unwrap()).to_str().unwrap().contains("immutable"));
        assert_eq!(cache(&page()), "no-cache");
        assert!(asset("../init.js").is_none());
    }
}
