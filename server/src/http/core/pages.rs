//! The pages that are built into the server: the API's documentation and the console.
//!
//! All files are in the binary and nothing comes from elsewhere. A page therefore works without a
//! network, and the Content-Security-Policy can forbid other sources.

use actix_web::{
    HttpResponse,
    http::header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, ContentType, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
};
use std::sync::LazyLock;

/// The Content-Security-Policy.
///
/// Swagger UI and the console set style properties from scripts, which needs no `unsafe-inline`.
/// Swagger UI's style sheet contains `data:` images.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// A file's name and its text.
type Asset = (&'static str, &'static str);

/// Files of a directory of `server/assets`, by their names.
macro_rules! assets {
    ($($directory:literal: $($name:literal)*;)*) => {
        &[$($(($name, include_str!(concat!("../../../assets/", $directory, "/", $name)))),*),*]
    };
}

/// A page and its files.
///
/// The addresses of the files begin with a version made from their content. They can therefore be
/// cached for ever, even if they import each other.
pub struct WebPage {
    html: String,
    version: String,
    assets: &'static [Asset],
}

/// Swagger UI on this server's own `/openapi.json`.
pub static DOCS: LazyLock<WebPage> = LazyLock::new(|| {
    WebPage::new(
        include_str!("../../../assets/docs/index.html"),
        assets![
            "swagger-ui": "swagger-ui-bundle.js" "swagger-ui.css";
            "docs": "init.js";
        ],
    )
});

/// The console for operators and support agents.
pub static CONSOLE: LazyLock<WebPage> = LazyLock::new(|| {
    WebPage::new(
        include_str!("../../../assets/console/index.html"),
        assets![
            "lit-html": "lit-html.js";
            "console": "style.css" "api.js" "conflict.js" "create.js" "document.js" "edit.js" "exact.js"
                "events.js" "force.js" "force_item.js" "form.js" "history.js" "list.js" "main.js" "object.js"
                "parts.js" "patch.js" "poll.js" "resolve.js" "route.js" "schema.js" "session.js" "sign_in.js"
                "states.js" "stream.js" "table.js" "timeline.js" "watch.js" "words.js";
        ],
    )
});

impl WebPage {
    fn new(html: &str, assets: &'static [Asset]) -> Self {
        let mut content = crc32fast::Hasher::new();
        for (_, text) in assets {
            content.update(text.as_bytes());
        }
        let version = format!("{:08x}", content.finalize());
        Self { html: html.replace("{{version}}", &version), version, assets }
    }

    /// The page itself.
    pub fn answer(&self) -> HttpResponse {
        HttpResponse::Ok()
            .content_type(ContentType::html())
            .insert_header((CONTENT_SECURITY_POLICY, POLICY))
            .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .insert_header((X_FRAME_OPTIONS, "DENY"))
            .insert_header((REFERRER_POLICY, "no-referrer"))
            .insert_header((CACHE_CONTROL, "no-cache"))
            .body(self.html.clone())
    }

    /// One of the page's files.
    ///
    /// `None` if this version of the page has no file of that name. A file of another version must
    /// not be cached under this version's address.
    pub fn asset(&self, version: &str, name: &str) -> Option<HttpResponse> {
        let (name, text) = self.assets.iter().find(|(known, _)| *known == name)?;
        if version != self.version {
            return None;
        }
        let content_type = match name.rsplit_once('.') {
            Some((_, "css")) => "text/css; charset=utf-8",
            _ => "text/javascript; charset=utf-8",
        };
        let answer = HttpResponse::Ok()
            .content_type(content_type)
            .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"))
            .body(*text);
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn pages() -> [&'static WebPage; 2] {
        [&DOCS, &CONSOLE]
    }

    /// The texts between `opening` and the next `closing`, in order.
    fn between<'a>(text: &'a str, opening: &str, closing: char) -> Vec<&'a str> {
        text.split(opening).skip(1).map(|rest| rest.split(closing).next().unwrap()).collect()
    }

    fn sources(page: &WebPage) -> Vec<&str> {
        [between(&page.html, " src=\"", '"'), between(&page.html, " href=\"", '"')].concat()
    }

    /// The files that the page or its modules ask for.
    fn wanted(page: &WebPage) -> BTreeSet<&str> {
        let directory = format!("/{}/", page.version);
        let of_page = sources(page).into_iter();
        let of_page = of_page.filter_map(|source| Some(source.split_once(directory.as_str())?.1));
        let modules = page.assets.iter().filter(|(_, text)| !text.contains("swagger"));
        let imports = modules.flat_map(|(_, text)| between(text, " from \"./", '"'));
        of_page.chain(imports).collect()
    }

    #[test]
    fn every_file_that_is_asked_for_is_there_and_no_other() {
        for page in pages() {
            let names: BTreeSet<_> = page.assets.iter().map(|(name, _)| *name).collect();
            assert_eq!(wanted(page), names);
            for name in names {
                assert!(page.asset(&page.version, name).is_some(), "{name}");
            }
        }
    }

    #[test]
    fn nothing_comes_from_elsewhere() {
        for page in pages() {
            for source in sources(page) {
                assert!(!source.contains("//"), "{source}");
            }
            assert!(!page.html.contains("<style") && !page.html.contains("<script>"));
            let answer = page.answer();
            let policy = answer.headers().get(CONTENT_SECURITY_POLICY).unwrap().to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'"), "{policy}");
            assert!(
                !policy.contains("http") && !policy.contains("unsafe") && !policy.contains('*')
            );
        }
        for (name, text) in CONSOLE.assets {
            let scripts = text.replace("http://www.w3.org/", "");
            assert!(!scripts.contains("http:") && !scripts.contains("https:"), "{name}");
        }
    }

    #[test]
    fn files_are_kept_for_ever_and_the_page_is_not() {
        let cache = |answer: &HttpResponse| answer.headers().get(CACHE_CONTROL).unwrap().clone();
        for (page, script) in [(&DOCS, "init.js"), (&CONSOLE, "main.js")] {
            let file = page.asset(&page.version, script).unwrap();
            assert!(cache(&file).to_str().unwrap().contains("immutable"));
            assert_eq!(cache(&page.answer()), "no-cache");
            assert!(page.asset("00000000", script).is_none(), "another version's address");
            assert!(page.asset(&page.version, "../init.js").is_none());
        }
    }
}
