//! Reads a token: three parts of base64url (RFC 7515, 7.1), of which nothing is
//! believed yet.
//!
//! A token is read in one pass over a bounded text. Of the header three members
//! count: `alg`, `kid` and `crit`. Members that name or contain keys (`jku`,
//! `x5u`, `jwk`, `x5c`) are not looked at, as a token cannot say who vouches
//! for it. A `kid` is compared and nothing else.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value};

use super::super::rejected::Rejected;
use crate::policy::Algorithm;

/// Bytes of the longest token. Heads of requests are rarely allowed to be
/// longer, and a token that long costs some 50 us to read.
const LONGEST: usize = 16 * 1024;

/// A token as it was read.
#[derive(Debug)]
pub(in crate::identity) struct Token {
    /// As it was sent.
    pub(in crate::identity) text: Box<[u8]>,
    /// Bytes of `text` that are signed: header and payload.
    signed: usize,
    /// The algorithm that it says it was signed with.
    pub(in crate::identity) algorithm: Algorithm,
    /// The name of the key that it says it was signed with; `None` for none.
    pub(in crate::identity) key_id: Option<Box<str>>,
    /// Its claims.
    pub(in crate::identity) claims: Map<String, Value>,
    /// Its signature.
    pub(in crate::identity) signature: Box<[u8]>,
}

/// The members of a header that count (RFC 7515, 4.1).
#[derive(Deserialize)]
struct TokenHeader {
    alg: String,
    kid: Option<Box<str>>,
    crit: Option<IgnoredAny>,
}

impl Token {
    /// Reads a token that was signed with one of these algorithms.
    ///
    /// # Errors
    /// It is too long, no token, or signed in another way.
    pub(super) fn read(text: &[u8], algorithms: &[Algorithm]) -> Result<Self, Rejected> {
        if text.len() > LONGEST {
            return Err(Rejected::new("the token is longer than 16 KiB"));
        }
        let no_token = Rejected::new("it is not a signed token (JWS, in the compact form)");
        let mut dots = memchr::memchr_iter(b'.', text);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(no_token);
        };
        let header = decode(&text[..first]).ok_or(no_token)?;
        let header: TokenHeader = object(&header).ok_or(no_token)?;
        let algorithm = Algorithm::named(&header.alg).filter(|one| algorithms.contains(one));
        let algorithm = algorithm.ok_or(Rejected::new("its algorithm is not accepted"))?;
        if header.crit.is_some() {
            let why = "it has critical extensions, of which none is known";
            return Err(Rejected::new(why));
        }
        let claims = decode(&text[first + 1..second]).ok_or(no_token)?;
        let claims = object(&claims).ok_or(Rejected::new("its claims are no JSON object"))?;
        let signature = decode(&text[second + 1..]).ok_or(no_token)?;
        Ok(Self {
            text: text.into(),
            signed: second,
            algorithm,
            key_id: header.kid,
            claims,
            signature: signature.into(),
        })
    }

    /// The bytes that the signature is of.
    pub(super) fn message(&self) -> &[u8] {
        &self.text[..self.signed]
    }
}

/// The bytes behind base64url without padding, in the one form that they have.
/// `None` for other text, and for none.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    (!bytes.is_empty()).then_some(bytes)
}

/// A JSON object, nested at most 128 levels deep. `None` for other values: serde
/// would take a list for the members of a struct.
fn object<'j, T: Deserialize<'j>>(json: &'j [u8]) -> Option<T> {
    let first = json.iter().find(|byte| !byte.is_ascii_whitespace())?;
    (*first == b'{')
        .then(|| serde_json::from_slice(json).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ACCEPTED: [Algorithm; 2] = [Algorithm::Rs256, Algorithm::Es256];

    fn token(header: &str, claims: &str) -> String {
        let parts = [header, claims, "signature"].map(|part| URL_SAFE_NO_PAD.encode(part));
        parts.join(".")
    }

    fn why(text: &str) -> &'static str {
        Token::read(text.as_bytes(), &ACCEPTED).unwrap_err().why
    }

    #[test]
    fn a_token_is_read_into_its_parts() {
        let text = token(
            r#"{"alg":"ES256","kid":"../../etc/passwd","jku":"https://evil.example","x5c":[1]}"#,
            r#"{"sub":"a"}"#,
        );
        let token = Token::read(text.as_bytes(), &ACCEPTED).unwrap();
        assert_eq!(token.algorithm, Algorithm::Es256);
        assert_eq!(token.key_id.as_deref(), Some("../../etc/passwd"));
        assert_eq!(token.claims["sub"], "a");
        assert_eq!(&*token.signature, b"signature");
        assert_eq!(token.message(), text.rsplit_once('.').unwrap().0.as_bytes());
    }

    #[test]
    fn other_algorithms_and_none_are_refused_in_every_spelling() {
        for alg in [
            "none", "None", "NONE", "nOnE", "", "HS256", "RS384", "rs256", "RS256 ",
        ] {
            let text = token(&format!("{{\"alg\":\"{alg}\"}}"), "{}");
            assert_eq!(why(&text), "its algorithm is not accepted", "{alg}");
        }
        let empty = token(r#"{"alg":"none"}"#, "{}");
        let unsigned = format!("{}.", empty.rsplit_once('.').unwrap().0);
        assert_eq!(why(&unsigned), "its algorithm is not accepted");
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let (header, claims) = (r#"{"alg":"RS256"}"#, "{}");
        let sound = token(header, claims);
        assert!(Token::read(sound.as_bytes(), &ACCEPTED).is_ok());
        for text in [
            "",
            ".",
            "..",
            "a.b.c",
            &format!("{sound}.x"),
            &format!("{sound}="),
            &format!(" {sound}"),
            &sound.replace('.', "=."),
            &sound.replacen('.', "", 1),
            &token("[\"RS256\",null,null]", claims),
            &token("{\"alg\":[\"RS256\"]}", claims),
            &token("{\"alg\":\"RS256\",\"alg\":\"none\"}", claims),
            &token("{\"alg\":\"RS256\",\"kid\":7}", claims),
            &token("{\"alg\":\"RS256\"} x", claims),
            &format!("{}.", sound.rsplit_once('.').unwrap().0),
        ] {
            assert!(why(text).starts_with("it is not a signed token"), "{text}");
        }
        for claims in ["[]", "[1]", "7", "\"a\"", "null", "{", "{} {}"] {
            let text = token(header, claims);
            assert_eq!(why(&text), "its claims are no JSON object", "{claims}");
        }
    }

    #[test]
    fn a_critical_extension_is_refused() {
        for crit in ["[\"b64\"]", "[]", "\"exp\""] {
            let header = format!("{{\"alg\":\"RS256\",\"b64\":false,\"crit\":{crit}}}");
            assert!(why(&token(&header, "{}")).contains("critical"), "{crit}");
        }
    }

    #[test]
    fn long_and_deep_tokens_are_refused_unread() {
        let long = "x".repeat(100 * 1024);
        assert_eq!(why(&long), "the token is longer than 16 KiB");
        let deep = "[".repeat(5000) + &"]".repeat(5000);
        let text = token(r#"{"alg":"RS256"}"#, &format!("{{\"a\":{deep}}}"));
        assert!(text.len() < LONGEST);
        assert_eq!(why(&text), "its claims are no JSON object");
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Token::read(&text, &ACCEPTED);
        }

        #[test]
        fn any_parts_are_refused_or_read(header in ".{0,80}", claims in ".{0,80}") {
            let _ = Token::read(token(&header, &claims).as_bytes(), &ACCEPTED);
        }
    }
}
