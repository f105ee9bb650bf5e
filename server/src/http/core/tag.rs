//! Entity tags (RFC 9110 §8.8.3). The tag of an object is its version.

use ifmatch_domain::core::Tags;
use ifmatch_types::Version;

/// What compressing intermediaries append to a tag, after one or two hyphens.
const ENCODINGS: [&str; 4] = ["gzip", "br", "zstd", "deflate"];

/// Reads a list of entity tags. `None` if it is not one.
///
/// The tag is the version, so a weak tag names it, too: representations that differ under one tag,
/// which strong comparison protects from, cannot happen here.
pub fn versions(text: &str) -> Option<Vec<Version>> {
    let mut rest = text;
    let mut versions = Vec::new();
    let mut is_list = false;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return is_list.then_some(versions);
        }
        let opaque = rest.strip_prefix("W/").unwrap_or(rest);
        let (tag, after) = opaque.strip_prefix('"')?.split_once('"')?;
        let legal = |c: char| c == '!' || ('#'..='~').contains(&c) || !c.is_ascii();
        if !tag.chars().all(legal) {
            return None;
        }
        is_list = true;
        versions.extend(tag_version(tag));
        rest = after.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
}

/// Tags as this server writes them.
pub fn text(tags: &Tags) -> String {
    match tags {
        Tags::Any => "*".to_owned(),
        Tags::Versions(versions) => {
            let quoted: Vec<String> =
                versions.iter().map(|version| format!("\"{version}\"")).collect();
            quoted.join(", ")
        }
    }
}

/// The version in a tag that this server made: no sign, no leading zero.
fn tag_version(tag: &str) -> Option<Version> {
    let plain = match tag.rsplit_once('-') {
        Some((before, encoding)) if ENCODINGS.contains(&encoding) => {
            before.strip_suffix('-').unwrap_or(before)
        }
        _ => tag,
    };
    let version: Version = plain.parse().ok()?;
    (version >= 1 && version.to_string() == plain).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_list_of_quoted_tags_is_malformed() {
        for text in [
            "5",
            "\"5",
            "5\"",
            "\"5\" \"6\"",
            "W/5",
            "",
            ",",
            "\"a b\"",
            "*, \"5\"",
            "w/\"5\"",
            "5-gzip",
            "\"5\"-gzip",
        ] {
            assert_eq!(versions(text), None, "{text}");
        }
    }

    #[test]
    fn tags_that_this_server_never_made_name_no_version() {
        for tag in [
            "abc",
            "05",
            "+5",
            "",
            "-1",
            "0",
            "99999999999999999999",
            "-gzip",
            "5-x",
            "5---gzip",
            "5-gzip-gzip",
            "gzip",
        ] {
            assert_eq!(versions(&format!("\"{tag}\"")), Some(vec![]), "{tag}");
        }
    }

    #[test]
    fn what_intermediaries_make_of_a_tag_still_names_the_version() {
        for suffix in ["", "-gzip", "--gzip", "-br", "--br", "-zstd", "-deflate"] {
            let tag = format!("\"7{suffix}\"");
            assert_eq!(versions(&tag), Some(vec![7]), "{tag}");
            assert_eq!(versions(&format!("W/{tag}")), Some(vec![7]), "W/{tag}");
        }
        assert_eq!(versions("\"3\", W/\"7\" ,\"x\",\"5\""), Some(vec![3, 7, 5]));
    }
}
