//! `WWW-Authenticate` challenges (RFC 7235) as registries send them.

use std::collections::BTreeMap;

/// What a registry wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User name and password with every request.
    Basic,
    /// A token from `realm` for `service` and `scope`.
    Bearer {
        /// URL of the token server.
        realm: String,
        /// What the token server calls this registry.
        service: Option<String>,
        /// What the token must allow.
        scope: Option<String>,
        /// Why the last token did not do.
        error: Option<String>,
    },
}

/// Reads one header value; `None` for schemes and forms that registries do not use.
pub(crate) fn parse(header: &str) -> Option<Challenge> {
    let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut parameters = parameters(rest)?;
    Some(Challenge::Bearer {
        realm: parameters.remove("realm")?,
        service: parameters.remove("service"),
        scope: parameters.remove("scope"),
        error: parameters.remove("error"),
    })
}

fn parameters(mut text: &str) -> Option<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    loop {
        text = text.trim_start_matches([' ', '\t', ',']);
        if text.is_empty() {
            return Some(found);
        }
        let (name, rest) = text.split_once('=')?;
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].trim().to_owned(), &rest[end..])
            }
        };
        found.insert(name.trim().to_ascii_lowercase(), value);
        text = rest;
    }
}

/// The text up to the closing quote, and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenge_of_docker_hub_is_understood() {
        let header = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/x:pull,push""#;
        let expected = Challenge::Bearer {
            realm: "https://auth.docker.io/token".to_owned(),
            service: Some("registry.docker.io".to_owned()),
            scope: Some("repository:library/x:pull,push".to_owned()),
            error: None,
        };
        assert_eq!(parse(header), Some(expected));
    }

    #[test]
    fn challenge_forms_are_told_apart() {
        assert_eq!(parse("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(parse("basic"), Some(Challenge::Basic));
        let bearer = |realm: &str| {
            Some(Challenge::Bearer {
                realm: realm.to_owned(),
                service: None,
                scope: None,
                error: None,
            })
        };
        assert_eq!(parse(r#"bearer REALM=http://a/b , "#), bearer("http://a/b"));
        assert_eq!(parse(r#"Bearer realm="a\"b""#), bearer("a\"b"));
        for bad in
            ["", "Negotiate", "Bearer", "Bearer service=\"x\"", "Bearer realm=\"x", "Bearer realm"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
