//! One key of one limit, for the person on call: named by the texts of its parts, looked at, filled, given other numbers.
//!
//! Off the path of requests. A key is made of the same typed parts as a request's own, so that it finds the same bucket.

use std::{borrow::Cow, hash::Hasher, net::IpAddr, str::FromStr, sync::Arc, time::Duration};

use http::HeaderValue;
use ipnet::IpNet;

use super::{
    key_part::key_part,
    key_parts::{self, is_match, named},
    state::State,
};
use crate::{
    call::{Target, query},
    gateway::host,
    layer::{self, named_value},
    limit::{
        Count, Gcra, Heavy, Key, KeyBuilder, Label, Limiter, Now, Part, Standing, TemporaryError,
        Top,
    },
    policy::{KeyPart, Limit, Missing, Quota, Tier, ValuePattern},
    store::{Ask, Name, NameHasher, SharedLimit, Store},
};

/// A limit, or one of its tiers, as it is looked at.
#[derive(Debug)]
pub struct OneLimit<'s> {
    state: &'s State,
    /// What the configuration says of it.
    limit: &'s Limit,
    /// It is this tier of the limit.
    tier: Option<&'s Tier>,
    limiter: &'s Limiter,
    top: &'s Arc<Top>,
    /// Where its buckets are, if other gateways count in them too.
    shared: Option<(&'s Arc<Store>, &'s Arc<SharedLimit>)>,
}

/// A key that is named.
#[derive(Debug, Clone)]
pub struct KnownKey {
    /// Its bucket.
    pub key: Key,
    /// Its parts, as they are shown.
    pub parts: Vec<Part>,
    /// Only its hash is known: there are no parts though the limit's key has some.
    pub is_hash_only: bool,
    /// For each of them, whether its value may be a credential.
    pub secrets: Vec<bool>,
    /// What its bucket is called in the store, of a limit that is shared.
    name: Option<Name>,
}

/// How a key stands.
#[derive(Debug, Clone)]
pub struct KeyState {
    /// Which.
    pub key: KnownKey,
    /// The quota that counts for it now; `None`: everything passes.
    pub quota: Option<Quota>,
    /// Its bucket, for who asks under these.
    pub bucket: Standing,
    /// What was seen of it lately.
    pub count: Count,
    /// Other numbers than the configuration's count for so long.
    pub ends_in: Option<Duration>,
}

impl State {
    /// The limit, or tier of one, that has this name.
    pub fn limit(&self, name: &str) -> Option<OneLimit<'_>> {
        let tiers = |limit: &'_ Arc<Limit>| limit.tiers.iter().position(|tier| *tier.name == *name);
        let found = self
            .config
            .limits
            .iter()
            .find_map(|limit| match tiers(limit) {
                _ if *limit.name == *name => Some((limit, None)),
                Some(place) => Some((limit, limit.tiers.get(place))),
                None => None,
            });
        let (limit, tier) = found?;
        let shared = self.store.as_ref().zip(self.shared.get(name));
        Some(OneLimit {
            state: self,
            limit,
            tier,
            limiter: self.limits.get(name)?,
            top: self.tops.get(name)?,
            shared,
        })
    }
}

impl OneLimit<'_> {
    /// The key that a query names: `key=VALUE` for each part in its order, or `missing=VALUE` for a part that requests did
    /// not have.
    ///
    /// # Errors
    /// Says what is wrong, and what would be right.
    pub fn key(&self, now: Now, raw_query: &[u8]) -> Result<KnownKey, String> {
        let given: Vec<_> = query::pairs(raw_query).collect();
        if let [(name, hash)] = &*given
            && **name == *b"hash"
        {
            return self.by_hash(now, &String::from_utf8_lossy(hash));
        }
        if let Some((name, _)) = given
            .iter()
            .find(|(name, _)| !matches!(&**name, b"key" | b"missing"))
        {
            let name = String::from_utf8_lossy(name);
            return Err(format!(
                "there is no parameter `{name}`; {}",
                self.how_to_ask()
            ));
        }
        if given.len() != self.limit.key.len() {
            return Err(format!(
                "{} given; {}",
                count_of("part is", "parts are", given.len()),
                self.how_to_ask()
            ));
        }
        let values: Vec<_> = given
            .iter()
            .map(|(name, value)| (**name == *b"missing", &**value))
            .collect();
        let mut label = Label::default();
        let key = self
            .build(self.state.hasher.key(self.name()), &mut label, &values)?
            .finish();
        Ok(self.known(key, label.parts(), self.stored(&values)))
    }

    /// The key that access lines and the log have this hash of.
    fn by_hash(&self, now: Now, hash: &str) -> Result<KnownKey, String> {
        let Ok(key) = hash.parse::<Key>() else {
            return Err(format!(
                "{hash:?} is no hash: it has 16 hexadecimal digits, as `key` of an access line"
            ));
        };
        match self.top.label(now, key) {
            Some(label) => Ok(self.labelled(key, &label)),
            None if self.limiter.holds(key) => Ok(self.known(key, Vec::new(), None)),
            None => Err(format!(
                "no key of this limit has the hash {hash}: hashes are made anew by each process, and differ between a limit and its tiers"
            )),
        }
    }

    fn labelled(&self, key: Key, label: &Label) -> KnownKey {
        let parts = label.parts();
        let values: Vec<_> = parts
            .iter()
            .map(|part| (part.is_fallback, part.value.as_bytes()))
            .collect();
        let name = self.stored(&values);
        self.known(key, parts, name)
    }

    fn known(&self, key: Key, parts: Vec<Part>, name: Option<Name>) -> KnownKey {
        let is_hash_only = parts.is_empty() && !self.limit.key.is_empty();
        let secrets = parts
            .iter()
            .zip(&self.limit.key)
            .map(|(shown, part)| self.is_secret(shown, part))
            .collect();
        KnownKey {
            key,
            parts,
            is_hash_only,
            secrets,
            name,
        }
    }

    /// Whether the value of a part may be a credential.
    fn is_secret(&self, shown: &Part, part: &KeyPart) -> bool {
        match &self.limit.missing {
            Missing::Use(other) if shown.is_fallback => key_parts::is_secret(other),
            _ => key_parts::is_secret(part),
        }
    }

    /// What the bucket of these values is called in the store, if it is there.
    fn stored(&self, values: &[(bool, &[u8])]) -> Option<Name> {
        self.shared?;
        let begun = KeyBuilder::over(NameHasher::new(), self.name());
        Some(
            self.build(begun, &mut Label::default(), values)
                .ok()?
                .into_hasher()
                .name(),
        )
    }

    /// A key of these values, each of which may stand in for a missing part.
    fn build<H: Hasher>(
        &self,
        mut builder: KeyBuilder<H>,
        label: &mut Label,
        values: &[(bool, &[u8])],
    ) -> Result<KeyBuilder<H>, String> {
        for (part, (stands_in, value)) in self.limit.key.iter().zip(values) {
            let from = label.len();
            builder = match (stands_in, &self.limit.missing) {
                (true, Missing::Use(other)) => self.feed((builder, &mut *label), other, value)?,
                (true, _) => {
                    return Err(
                        "nothing stands in for a missing part of this limit's key".to_owned()
                    );
                }
                (false, _) => self.feed((builder, &mut *label), part, value)?,
            };
            if *stands_in {
                label.mark_fallback(from);
            }
        }
        Ok(builder)
    }

    /// How it stands.
    pub async fn look(&self, now: Now, key: KnownKey) -> KeyState {
        let count = self.top.count(now, key.key);
        let mut states = [self.standing(now, key, count)];
        self.look_in_store(&mut states).await;
        let [state] = states;
        state
    }

    /// The keys that ask most, the heaviest first.
    pub async fn heaviest(&self, now: Now, most: usize) -> Vec<KeyState> {
        let state =
            |Heavy { key, label, count }| self.standing(now, self.labelled(key, &label), count);
        let mut states: Vec<_> = self
            .top
            .heaviest(now, most)
            .into_iter()
            .map(state)
            .collect();
        self.look_in_store(&mut states).await;
        states
    }

    /// Of a shared limit the store's word counts; while it does not answer, what this gateway has counted alone.
    async fn look_in_store(&self, states: &mut [KeyState]) {
        let asked: Vec<_> = states
            .iter_mut()
            .filter_map(|state| Some((self.ask(&state.key, state.quota?)?, state)))
            .collect();
        let (asks, states): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        let Some((store, _)) = self.shared.filter(|_| !asks.is_empty()) else {
            return;
        };
        for (state, bucket) in states.into_iter().zip(store.standing(&asks).await) {
            state.bucket = bucket.unwrap_or(state.bucket);
        }
    }

    /// The bucket in the store, for who asks under these numbers.
    fn ask(&self, key: &KnownKey, quota: Quota) -> Option<Ask> {
        let (_, limit) = self.shared?;
        Some(Ask {
            limit: Arc::clone(limit),
            name: key.name?,
            key: key.key,
            cost: 0,
            quota: Some(quota.into()),
            is_lent: false,
        })
    }

    /// Fills its bucket and ends its temporary numbers. False when the bucket is in the store, which does not answer, or where
    /// it cannot be named by a hash alone.
    pub async fn reset(&self, now: Now, key: &KnownKey) -> bool {
        self.limiter.end_temporary(now, key.key);
        self.limiter.forget(key.key);
        match (self.shared, self.ask(key, self.limit.quota)) {
            (Some((store, _)), Some(ask)) => store.fill(&ask).await,
            (Some(_), None) => false,
            (None, _) => true,
        }
    }

    /// Gives it other numbers for a while.
    ///
    /// # Errors
    /// Says why not; nothing has changed then.
    pub fn give(
        &self,
        now: Now,
        key: Key,
        quota: Quota,
        ttl: Duration,
    ) -> Result<(), TemporaryError> {
        self.limiter
            .set_temporary(now, key, quota, now.after(ttl))
            .map(drop)
    }

    /// Whether single keys can have other numbers: those of a tier cannot.
    pub fn gives(&self) -> bool {
        self.tier.is_none()
    }

    fn name(&self) -> &str {
        self.tier.map_or(&self.limit.name, |tier| &tier.name)
    }

    fn standing(&self, now: Now, key: KnownKey, count: Count) -> KeyState {
        let given = self
            .limiter
            .temporary(now, key.key)
            .filter(|_| self.gives());
        let quota = match given {
            Some(given) => Some(given.quota),
            None => self.configured(&key.parts),
        };
        let gcra = quota.map(Gcra::from);
        let bucket = self.limiter.standing(now, key.key, gcra.as_ref());
        let ends_in = given.map(|given| {
            Duration::from_nanos(given.until.as_nanos().saturating_sub(now.as_nanos()))
        });
        KeyState {
            key,
            quota,
            bucket,
            count,
            ends_in,
        }
    }

    /// The numbers that the configuration has for this key.
    fn configured(&self, parts: &[Part]) -> Option<Quota> {
        if let Some(tier) = self.tier {
            return Some(tier.quota);
        }
        if parts.len() < self.limit.key.len() {
            return Some(self.limit.quota); // only its hash is known
        }
        if parts.iter().any(|part| part.is_fallback) {
            return Some(self.limit.stand_ins.unwrap_or(self.limit.quota));
        }
        let matches = |patterns: &Vec<ValuePattern>| {
            let each = patterns.iter().zip(&self.limit.key).zip(parts);
            each.into_iter()
                .all(|((pattern, key), part)| is_match(pattern, key, part))
        };
        let exception = self
            .limit
            .overrides
            .iter()
            .find(|one| one.matches.iter().any(matches));
        exception.map_or(Some(self.limit.quota), |one| one.quota)
    }

    /// Adds a part to the key and to what is shown of it.
    fn feed<H: Hasher>(
        &self,
        (builder, label): (KeyBuilder<H>, &mut Label),
        part: &KeyPart,
        value: &[u8],
    ) -> Result<KeyBuilder<H>, String> {
        let value = &*named_value(&key_part(part), value);
        if value.is_empty() {
            return Err(format!("a value is empty; {}", self.how_to_ask()));
        }
        if let KeyPart::ClientIp { v6_prefix } = part {
            let prefix = self.tier.map_or(*v6_prefix, |tier| tier.prefix);
            let address = self.address(&String::from_utf8_lossy(value), prefix)?;
            label.ip(address, prefix);
            return Ok(builder.ip(address, prefix));
        }
        let text = String::from_utf8_lossy(value);
        let (builder, shown) = match part {
            KeyPart::Header(name) => {
                HeaderValue::from_bytes(value)
                    .map_err(|_| format!("{text:?} cannot be the value of a header"))?;
                (builder.header(name.as_str(), value), Cow::Borrowed(value))
            }
            KeyPart::Cookie(name) => (builder.cookie(name, value), Cow::Borrowed(value)),
            KeyPart::Query(name) => (builder.query(name, value), Cow::Borrowed(value)),
            KeyPart::Param(name) => (builder.param(name, value), Cow::Borrowed(value)),
            KeyPart::Method => (builder.method(&text), Cow::Borrowed(value)),
            KeyPart::TlsSubject => (builder.tls_subject(value), Cow::Borrowed(value)),
            KeyPart::Route => (builder.route(self.route(&text)?), Cow::Borrowed(value)),
            KeyPart::Host => {
                let host = host::name(value).map_err(|_| format!("{text:?} is not a host"))?;
                (
                    builder.host(&host),
                    Cow::Owned(host.into_string().into_bytes()),
                )
            }
            KeyPart::Path => {
                let target = Target::parse(value.to_vec().into())
                    .ok()
                    .filter(|_| value.starts_with(b"/"));
                let target = target
                    .ok_or_else(|| format!("{text:?} is not a path, which begins with `/`"))?;
                let path = named_value(&layer::KeyPart::Path, target.normal_path()).into_owned();
                (builder.path(&path), Cow::Owned(path))
            }
            KeyPart::ClientIp { .. } => (builder, Cow::Borrowed(value)),
        };
        label.text(&shown);
        Ok(builder)
    }

    fn address(&self, text: &str, prefix: u8) -> Result<IpAddr, String> {
        let network = IpNet::from_str(text).or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let Ok(network) = network else {
            return Err(format!(
                "{text:?} is no address; write one such as 192.0.2.1, or a network such as 2001:db8::/{prefix}"
            ));
        };
        let (address, bits) = (network.network().to_canonical(), network.prefix_len());
        match address {
            IpAddr::V4(_) if self.tier.is_some() => {
                Err("a tier is about IPv6 networks alone".to_owned())
            }
            IpAddr::V4(_) if bits < network.max_prefix_len() => Err(format!(
                "{text} is many addresses, and each IPv4 address has a bucket of its own"
            )),
            IpAddr::V6(_) if bits < prefix => Err(format!(
                "{text} is many networks: each /{prefix} has a bucket of its own"
            )),
            _ => Ok(address),
        }
    }

    fn route<'t>(&self, name: &'t str) -> Result<&'t str, String> {
        let of_limit = self
            .state
            .config
            .routes
            .iter()
            .filter(|route| route.limits.contains(&self.limit.name));
        let names: Vec<_> = of_limit.map(|route| format!("`{}`", route.name)).collect();
        if names.contains(&format!("`{name}`")) {
            return Ok(name);
        }
        Err(format!(
            "no route `{name}` names this limit; those that do: {}",
            names.join(", ")
        ))
    }

    fn how_to_ask(&self) -> String {
        if self.limit.key.is_empty() {
            return "this limit has one bucket for everyone, so no part is named".to_owned();
        }
        let parts: Vec<_> = self.limit.key.iter().map(named).collect();
        let stand_in = match &self.limit.missing {
            Missing::Use(other) => {
                format!(
                    " (missing={} for a part that requests do not have)",
                    named(other).to_uppercase()
                )
            }
            _ => String::new(),
        };
        let query: Vec<_> = parts
            .iter()
            .map(|part| format!("key={}", part.to_uppercase()))
            .collect();
        format!(
            "the key is {}: ?{}{stand_in}; or ?hash=HASH",
            parts.join(", "),
            query.join("&")
        )
    }
}

fn count_of(one: &str, more: &str, count: usize) -> String {
    if count == 1 {
        format!("1 {one}")
    } else {
        format!("{count} {more}")
    }
}
