//! Keys as operators name them: by the value of each part, or by the hash that
//! access lines have.
//!
//! A key is made of its parts by the same code as that of a request
//! ([`KeyBuilder`]), after each value got the spelling that requests get
//! ([`named_value`]), so that both find the same bucket. A hash is looked up
//! among the busiest keys and those that are banned, whose parts are known; the
//! bucket of any other hash can be shown as well, but not its parts. Hashes are
//! keyed by a seed of the process, and so are not valid in another one.
//!
//! Errors are sentences for the operator, with an example that is right.
//!
//! # Bounds
//!
//! A query comes with a head of bounded size, and has exactly as many values as
//! the key has parts, so that nothing here grows further. Where it shows that
//! no request could have a value, the value is refused rather than hashed: the
//! operator would be shown a full bucket of nobody, and take it for that of the
//! client.

use std::{borrow::Cow, hash::Hasher, net::IpAddr, str::FromStr};

use http::HeaderValue;
use ipnet::IpNet;

use super::{KnownKey, OneLimit, parts};
use crate::{
    call::{Target, host_name, query},
    layer::named_value,
    limit::{Key, KeyBuilder, KeyValue, Label, Now, Part},
    policy::{KeyPart, Missing, Prefixes, network},
    store::{Name, NameHasher},
};

/// A value as an operator names it.
struct NamedValue<'q> {
    /// The value, decoded from the query.
    value: &'q [u8],
    /// Whether it is of the part that stands in for an absent one.
    is_stand_in: bool,
}

impl OneLimit<'_> {
    /// The key that a query names: `key=VALUE` for each part in order, or
    /// `missing=VALUE` for a part that requests lacked; or `hash=HASH`.
    ///
    /// `raw_query` is the query as received, without its `?`. It is decoded
    /// here. The key of a limit without parts is named by an empty query. The
    /// bucket need not exist: a key that no request has had names a full one.
    ///
    /// # Errors
    /// Fails with what is wrong, and what would be right.
    pub fn key(&self, now: Now, raw_query: &[u8]) -> Result<KnownKey, String> {
        let given: Vec<_> = query::pairs(raw_query).collect();
        if let [(name, hash)] = &*given
            && **name == *b"hash"
        {
            return self.by_hash(now, &String::from_utf8_lossy(hash));
        }
        let mut values = Vec::with_capacity(given.len());
        for (name, value) in &given {
            let is_stand_in = match &**name {
                b"key" => false,
                b"missing" => true,
                other => {
                    let name = String::from_utf8_lossy(other);
                    let usage = self.usage();
                    return Err(format!("there is no parameter `{name}`; {usage}"));
                }
            };
            values.push(NamedValue { value, is_stand_in });
        }
        if values.len() != self.limit.key.len() {
            let count = match values.len() {
                1 => "1 part is".to_owned(),
                count => format!("{count} parts are"),
            };
            return Err(format!("{count} given; {}", self.usage()));
        }
        let mut label = Label::default();
        let begun = self.state.hasher.key(self.name());
        let key = self.build(begun, &mut label, &values)?.finish();
        Ok(self.known(key, label.parts(), self.name_in_store(&values)))
    }

    /// The key with the hash that access lines and the log show.
    ///
    /// Among the busiest keys and those that are banned, its parts are known;
    /// in the table of buckets, only that it exists. Any other hash is an
    /// error, since it is more likely mistyped, or of another process, than of
    /// a key that has gone.
    fn by_hash(&self, now: Now, hash: &str) -> Result<KnownKey, String> {
        let Ok(key) = hash.parse::<Key>() else {
            return Err(format!(
                "{hash:?} is no hash: it has 16 hexadecimal digits, as `key` of an access line"
            ));
        };
        let banned = || self.bans()?.label(now, key);
        match self.top.label(now, key).or_else(banned) {
            Some(label) => Ok(self.labelled(key, &label)),
            None if self.counter.holds(key) => Ok(self.known(key, Vec::new(), None)),
            None => Err(format!(
                "no key of this limit has the hash {hash}: hashes are made anew by each process, and differ between a limit and its tiers"
            )),
        }
    }

    /// A key of which the parts are known.
    ///
    /// The name in the store is made of the displayed parts. It is absent if
    /// one of them cannot be read back.
    pub(super) fn labelled(&self, key: Key, label: &Label) -> KnownKey {
        let parts = label.parts();
        let mut values = Vec::with_capacity(parts.len());
        for part in &parts {
            values.push(NamedValue {
                value: part.value.as_bytes(),
                is_stand_in: part.is_stand_in,
            });
        }
        let name = self.name_in_store(&values);
        self.known(key, parts, name)
    }

    /// A key with its parts, of which those that may be credentials are marked.
    ///
    /// Without parts, the key is either that of a limit with one bucket for
    /// everybody, or one of which only the hash is known; `is_hash_only` tells
    /// these two apart.
    fn known(&self, key: Key, parts: Vec<Part>, name: Option<Name>) -> KnownKey {
        let mut secrets = Vec::with_capacity(parts.len());
        for (shown, part) in parts.iter().zip(&self.limit.key) {
            secrets.push(self.is_secret(shown, part));
        }
        KnownKey {
            key,
            secrets,
            is_hash_only: parts.is_empty() && !self.limit.key.is_empty(),
            parts,
            name,
        }
    }

    /// Whether the value of a part may be a credential.
    ///
    /// A part that stands in for a missing one is judged by the name that it is
    /// read from, and not by the name of the missing one.
    fn is_secret(&self, shown: &Part, part: &KeyPart) -> bool {
        match &self.limit.missing {
            Missing::Use(other) if shown.is_stand_in => parts::is_secret(other),
            _ => parts::is_secret(part),
        }
    }

    /// The name of the bucket of these values in the store; `None` if the limit
    /// is not there.
    ///
    /// The hash is the one of the store, which has no secret, over the same
    /// values.
    fn name_in_store(&self, values: &[NamedValue<'_>]) -> Option<Name> {
        self.shared?;
        let begun = KeyBuilder::over(NameHasher::new(), self.name());
        let built = self.build(begun, &mut Label::default(), values);
        Some(built.ok()?.into_hasher().name())
    }

    /// Adds the values to a key and to what is shown of it.
    ///
    /// `values` has one value for each part of the limit's key, in their order.
    ///
    /// # Errors
    /// A value cannot be that of its part, or it is given as a stand-in
    /// although the limit has none.
    fn build<H: Hasher>(
        &self,
        mut builder: KeyBuilder<H>,
        label: &mut Label,
        values: &[NamedValue<'_>],
    ) -> Result<KeyBuilder<H>, String> {
        for (part, named) in self.limit.key.iter().zip(values) {
            if !named.is_stand_in {
                let value = self.value(part, named.value)?;
                builder.add(part, &value);
                label.add(&value);
                continue;
            }
            let Missing::Use(other) = &self.limit.missing else {
                return Err("nothing stands in for a missing part of this limit's key".to_owned());
            };
            let value = self.value(other, named.value)?;
            builder.add(other, &value);
            label.add_stand_in(&value);
        }
        Ok(builder)
    }

    /// The value of a part, in the form in which requests have it.
    ///
    /// # Errors
    /// It is empty, or no request can have it in this part: it is no address,
    /// no host, no path, no field value, or no route with this limit. The text
    /// says which.
    fn value<'v>(&self, part: &KeyPart, value: &'v [u8]) -> Result<KeyValue<'v>, String> {
        let value = named_value(part, value);
        if value.is_empty() {
            return Err(format!("a value is empty; {}", self.usage()));
        }
        let text = String::from_utf8_lossy(&value);
        match part {
            KeyPart::ClientIp(prefixes) => {
                return self.address(&text, *prefixes).map(KeyValue::Address);
            }
            KeyPart::Header(_) => {
                HeaderValue::from_bytes(&value)
                    .map_err(|_| format!("{text:?} cannot be the value of a header"))?;
            }
            KeyPart::Route => self.check_route(&text)?,
            KeyPart::Host => {
                let host = host_name(&value).map_err(|_| format!("{text:?} is not a host"))?;
                return Ok(KeyValue::Text(Cow::Owned(host.into_string().into_bytes())));
            }
            KeyPart::Path => {
                if value.starts_with(b"/")
                    && let Ok(target) = Target::parse(value.to_vec().into())
                {
                    let path = named_value(part, target.normal_path()).into_owned();
                    return Ok(KeyValue::Text(Cow::Owned(path)));
                }
                return Err(format!("{text:?} is not a path, which begins with `/`"));
            }
            // Any text may be the value of the other kinds.
            _ => {}
        }
        drop(text);
        Ok(KeyValue::Text(value))
    }

    /// Reads an address, which may be written as a network of its bucket's
    /// size. `prefixes` are those of the key; a tier has its own.
    ///
    /// An address may be any one of its network. A network must not be wider
    /// than one bucket, since it would name several.
    ///
    /// # Errors
    /// The text is no address or network, or it is wider than a bucket, or the
    /// limit is a tier that does not count this kind of address.
    fn address(&self, text: &str, prefixes: Prefixes) -> Result<IpNet, String> {
        let named = IpNet::from_str(text).or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let Ok(named) = named else {
            let bits = prefixes.v6;
            return Err(format!(
                "{text:?} is no address; write one such as 192.0.2.1, or a network such as 2001:db8::/{bits}"
            ));
        };
        let (address, all) = (named.network().to_canonical(), named.max_prefix_len());
        // Only an IPv4-mapped address loses bits here.
        let lost = all - IpNet::from(address).max_prefix_len();
        let bucket = match self.tier {
            None => prefixes.network(address),
            Some(tier) => match tier.bits(address) {
                Some(bits) => network(address, bits),
                None => {
                    let kind = if address.is_ipv4() { "IPv6" } else { "IPv4" };
                    return Err(format!("this tier is about {kind} networks alone"));
                }
            },
        };
        let bits = bucket.prefix_len();
        if named.prefix_len().saturating_sub(lost) >= bits {
            return Ok(bucket);
        }
        Err(if bits == bucket.max_prefix_len() {
            let kind = if address.is_ipv4() { "IPv4" } else { "IPv6" };
            format!("{text} is many addresses, and each {kind} address has a bucket of its own")
        } else {
            format!("{text} is many networks: each /{bits} has a bucket of its own")
        })
    }

    /// Fails unless a route of this name names the limit.
    ///
    /// Another name is a mistake, as its bucket could never be used. The error
    /// lists the routes that apply the limit.
    fn check_route(&self, name: &str) -> Result<(), String> {
        let mut names = Vec::new();
        for route in &self.state.config.routes {
            if !route.limits.contains(&self.limit.name) {
                continue;
            }
            if *route.name == *name {
                return Ok(());
            }
            names.push(format!("`{}`", route.name));
        }
        Err(format!(
            "no route `{name}` names this limit; those that do: {}",
            names.join(", ")
        ))
    }

    /// States how a key of this limit is named.
    ///
    /// Several errors end with it, with the parts in capital letters where a
    /// value belongs.
    fn usage(&self) -> String {
        if self.limit.key.is_empty() {
            return "this limit has one bucket for everyone, so no part is named".to_owned();
        }
        let mut parts = Vec::new();
        let mut query = Vec::new();
        for part in &self.limit.key {
            let part = part.to_string();
            query.push(format!("key={}", part.to_uppercase()));
            parts.push(part);
        }
        let stand_in = match &self.limit.missing {
            Missing::Use(other) => {
                format!(
                    " (missing={} for a part that requests do not have)",
                    other.to_string().to_uppercase()
                )
            }
            _ => String::new(),
        };
        format!(
            "the key is {}: ?{}{stand_in}; or ?hash=HASH",
            parts.join(", "),
            query.join("&")
        )
    }
}
