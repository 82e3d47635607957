//! Words and names of `acme`: the domains, the mail address, the directory.

use std::{net::IpAddr, sync::Arc};

use super::{
    super::{suggest, wrong::Wrong},
    host, identity,
};
use crate::policy::HostPattern;

/// The directories of Let's Encrypt, by the word for each.
const KNOWN: [(&str, &str); 2] = [
    (
        "letsencrypt",
        "https://acme-v02.api.letsencrypt.org/directory",
    ),
    (
        "letsencrypt-staging",
        "https://acme-staging-v02.api.letsencrypt.org/directory",
    ),
];

/// Longest mail address (RFC 5321, 4.5.3.1.3), in bytes.
const LONGEST_EMAIL: usize = 254;

/// The name of a host that a certificate is ordered for, in lower case and
/// without a final dot.
///
/// # Errors
/// A wildcard, which only the challenge dns-01 can show to be ours; an address;
/// and what is no name of a host.
pub(in crate::config) fn domain(text: &str) -> Result<Box<str>, Wrong> {
    let help = "write the name of a host, such as \"shop.example.com\"";
    if text.contains('*') && host::pattern(text).is_ok() {
        let why = "a wildcard needs the challenge dns-01, which the gateway does not speak";
        let help = "name each host, or have another program order the wildcard and name its files in `certificates`";
        return Err(Wrong::new(why, help));
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<IpAddr>().is_ok() {
        return Err(Wrong::new("an address is no name", help));
    }
    match host::pattern(text)? {
        HostPattern::Exact(name) => Ok(name.into()),
        HostPattern::Wildcard(_) => Err(Wrong::new("it is no name of a host", help)),
    }
}

/// An address of electronic mail. Authorities check it further.
///
/// # Errors
/// A text without a name before and a host behind one `@`, or with characters
/// that have a meaning in a `mailto:` URL.
pub(in crate::config) fn email(text: &str) -> Result<Arc<str>, Wrong> {
    let help = "write one such as \"ops@example.com\"";
    let address = text.strip_prefix("mailto:").unwrap_or(text);
    let is_address = |address: &str| {
        let is_plain = |c: u8| c.is_ascii_graphic() && !b"?&#,<>\"\\%".contains(&c);
        let parts = address.split_once('@');
        address.len() <= LONGEST_EMAIL
            && address.bytes().all(is_plain)
            && parts.is_some_and(|(name, at)| !name.is_empty() && host::name(at).is_ok())
    };
    match is_address(address) {
        true if address == text => Ok(text.into()),
        true => Err(Wrong::new(
            "it is a URL, not an address",
            format!("write \"{address}\""),
        )),
        false => Err(Wrong::new("it is not an email address", help)),
    }
}

/// The URL of an authority's directory, which may be given by a word.
///
/// # Errors
/// A URL without https, as anybody on the way could answer it, and what is
/// neither a URL nor one of the words.
pub(in crate::config) fn directory(text: &str) -> Result<Arc<str>, Wrong> {
    let help = "write \"letsencrypt\", \"letsencrypt-staging\" or a URL such as \"https://acme.example.com/directory\"";
    if let Some((_, url)) = KNOWN.iter().find(|(word, _)| *word == text) {
        return Ok((*url).into());
    }
    if !text.contains("://") {
        let near = suggest::nearest(text, &KNOWN.map(|(word, _)| word));
        return Err(Wrong::new("it is no authority", help).or_meant(near));
    }
    let (server, _) = identity::asked_url(text)?;
    match server.secure_as {
        Some(_) => Ok(text.into()),
        None => Err(Wrong::new("an authority is asked over https", help)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_the_name_of_one_host() {
        assert_eq!(&*domain("Shop.Example.com.").unwrap(), "shop.example.com");
        for (text, says) in [
            ("*.example.com", "dns-01"),
            ("192.0.2.1", "an address"),
            ("[::1]", "an address"),
            ("::1", "an address"),
            ("", "missing"),
            ("*", "every host"),
            ("a.*.com", "whole labels"),
        ] {
            let wrong = domain(text).unwrap_err();
            assert!(wrong.why.contains(says), "{text}: {wrong:?}");
        }
        let wrong = domain("https://shop.example.com/").unwrap_err();
        assert_eq!(wrong.help, "write \"shop.example.com\"");
    }

    #[test]
    fn an_email_address_fits_into_a_url() {
        assert!(email("ops@example.com").is_ok() && email("o'p+s@example.com").is_ok());
        for text in [
            "",
            "ops",
            "@a.example",
            "ops@",
            "a b@c",
            "a@b?c=d",
            "a@b,c@d",
            "ops@ä.example",
        ] {
            assert!(email(text).is_err(), "{text}");
        }
        let wrong = email("mailto:ops@example.com").unwrap_err();
        assert_eq!(wrong.help, "write \"ops@example.com\"");
    }

    #[test]
    fn a_directory_is_a_word_or_a_url_with_https() {
        assert_eq!(
            &*directory("letsencrypt").unwrap(),
            "https://acme-v02.api.letsencrypt.org/directory"
        );
        assert!(directory("https://127.0.0.1:14000/dir").is_ok());
        for (text, says) in [
            ("http://acme.example/dir", "over https"),
            ("lets-encrypt", "no authority"),
            ("https://", ""),
        ] {
            let wrong = directory(text).unwrap_err();
            assert!(wrong.why.contains(says), "{text}: {wrong:?}");
        }
        let wrong = directory("lets-encrypt").unwrap_err();
        assert_eq!(wrong.help, "did you mean \"letsencrypt\"?");
    }
}
