//! Which values may be credentials, judged by their names.
//!
//! The name is all that the gateway knows of a value, so the rule is broad: it
//! hides the value of `monkey` too, and that costs less than one token in a
//! log. Views, logs and diagnostics never show such values.

/// Whether the value of a header, cookie or query parameter of this name may be
/// a credential: the name contains, in any letter case, one of `auth`,
/// `cookie`, `credential`, `key`, `password`, `secret`, `session`, `signature`
/// and `token`.
///
/// Makes one pass over the name and does not allocate, because every access
/// line with a query asks.
///
/// ```
/// use tidegate::policy::is_secret_name;
///
/// assert!(is_secret_name("X-API-Key"));
/// assert!(!is_secret_name("page"));
/// ```
pub fn is_secret_name(name: &str) -> bool {
    let name = name.as_bytes();
    let begins = |at: usize, word: &&str| {
        name.get(at..at + word.len())
            .is_some_and(|part| part.eq_ignore_ascii_case(word.as_bytes()))
    };
    (0..name.len()).any(|at| {
        let words: &[&str] = match name[at].to_ascii_lowercase() {
            b'a' => &["auth"],
            b'c' => &["cookie", "credential"],
            b'k' => &["key"],
            b'p' => &["password"],
            b's' => &["secret", "session", "signature"],
            b't' => &["token"],
            _ => &[],
        };
        words.iter().any(|word| begins(at, word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_contains_a_word_for_a_secret_is_that_of_a_secret() {
        for name in [
            "authorization",
            "Proxy-Authorization",
            "x-vault-token",
            "X-API-Key",
            "api_key",
            "sessionid",
            "set-cookie",
            "X-Amz-Signature",
            "client_secret",
            "X-Amz-Credential",
            "db-password",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["", "x-tenant", "user-agent", "page", "q", "x-request-id"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
