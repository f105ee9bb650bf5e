//! JSON Pointers (RFC 6901): how a place in an object is named.

/// The path of a member of what `parent` names; `""` is the whole object.
pub fn member(parent: &str, key: &str) -> String {
    let mut path = parent.to_owned();
    push(&mut path, key);
    path
}

/// Descends a path into a member.
pub fn push(path: &mut String, key: &str) {
    path.push('/');
    for character in key.chars() {
        match character {
            '~' => path.push_str("~0"),
            '/' => path.push_str("~1"),
            other => path.push(other),
        }
    }
}

/// The keys that a path descends by, unescaped.
pub fn keys(path: &str) -> impl Iterator<Item = String> + '_ {
    path.split('/').skip(1).map(|key| key.replace("~1", "/").replace("~0", "~"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_escaped_in_a_path_and_read_out_of_it_again() {
        for (key, path) in
            [("k", "/metadata/k"), ("a/b", "/metadata/a~1b"), ("~1", "/metadata/~01")]
        {
            assert_eq!(member("/metadata", key), path);
            assert_eq!(keys(path).collect::<Vec<_>>(), ["metadata", key]);
        }
    }
}
