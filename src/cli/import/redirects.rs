//! `proxy_redirect` and `proxy_cookie_path` as `response.locations`.
//!
//! By default NGINX maps the URL of `proxy_pass` back in `Location`, and leaves
//! cookies alone. `locations` maps all that a service can know of itself, also
//! in the paths of cookies.

use super::{
    notes::{Note, Outcome},
    scope::Scope,
    tree::Directive,
};

/// How requests of a place reach their service.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passed<'p> {
    pub(super) location: &'p Directive,
    /// The service gets another path than the one that clients ask for.
    pub(super) changes_path: bool,
    /// The service gets the host that clients ask for.
    pub(super) preserves_host: bool,
}

/// Whether URLs of the service are mapped back in responses.
pub(super) fn locations(scope: &Scope<'_>, passed: Passed<'_>, notes: &mut Vec<Note>) -> bool {
    let is_off = is_off(scope);
    let of_locations = written(scope, "proxy_redirect");
    let of_cookies = written(scope, "proxy_cookie_path");
    for directive in of_locations.iter().filter(|_| !is_off) {
        let (outcome, why) = match directive.argument(0).starts_with('~') {
            true => (
                Outcome::Lost,
                "`response.locations` maps the URLs and paths of the service back, and no others",
            ),
            false => (
                Outcome::Differs,
                "`response.locations` maps all URLs and paths of the service back",
            ),
        };
        notes.push(Note::new(directive, outcome, why));
    }
    // `/ "/; HttpOnly; Secure"` is about attributes only.
    let (of_cookies, of_attributes): (Vec<_>, Vec<_>) = of_cookies
        .into_iter()
        .partition(|directive| !directive.argument(1).contains(';'));
    for directive in of_attributes {
        let why = "the gateway adds no attributes to cookies";
        notes.push(Note::new(directive, Outcome::Lost, why));
    }
    for directive in &of_cookies {
        let (outcome, why) = match is_off {
            true => (
                Outcome::Lost,
                "`response.locations = true` does it, and maps `Location`, too",
            ),
            false => (
                Outcome::Differs,
                "`response.locations` maps the paths of cookies back",
            ),
        };
        notes.push(Note::new(directive, outcome, why));
    }
    if is_off || !of_locations.is_empty() || !of_cookies.is_empty() {
        return !is_off;
    }
    // A service that gets the client's host says nothing that NGINX would map.
    if passed.changes_path && !passed.preserves_host {
        let why = "`response.locations` maps the paths of cookies back, too";
        notes.push(Note::new(passed.location, Outcome::Differs, why));
    }
    !(passed.changes_path && passed.preserves_host)
}

/// Whether a place leaves `Location` as it is.
pub(super) fn is_off(scope: &Scope<'_>) -> bool {
    let mut redirects = scope.all("proxy_redirect").iter();
    redirects.any(|directive| directive.argument(0) == "off")
}

/// The directives of a list that ask for more than the usual.
fn written<'a>(scope: &Scope<'a>, list: &str) -> Vec<&'a Directive> {
    let directives = scope.all(list).iter().copied();
    let is_usual = |directive: &&Directive| matches!(directive.argument(0), "off" | "default");
    directives
        .filter(|directive| !is_usual(directive))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::imported;

    /// The file for a location that leads to a service.
    fn made(location: &str) -> String {
        let text = format!("http {{ server {{ location {location} }} }}");
        imported(text.as_bytes()).unwrap()
    }

    #[test]
    fn urls_of_a_service_are_mapped_back_as_nginx_does_by_default() {
        let plain = made("/a/ { proxy_pass http://s/v1/; }");
        assert!(
            plain.contains("[defaults.response]\nlocations = true"),
            "{plain}"
        );
        assert!(!plain.contains("locations = false"), "{plain}");
    }

    #[test]
    fn cookies_of_a_service_that_knows_the_clients_host_keep_their_paths() {
        let host = "proxy_set_header Host $host;";
        let changed = made(&format!("/a/ {{ proxy_pass http://s/v1/; {host} }}"));
        assert!(
            changed.contains("[routes.response]\nlocations = false"),
            "{changed}"
        );
        let same = made(&format!("/a/ {{ proxy_pass http://s; {host} }}"));
        assert!(!same.contains("locations = false"), "{same}");
    }

    #[test]
    fn a_place_without_proxy_redirect_leaves_locations_alone() {
        let off = made("/a/ { proxy_pass http://s; proxy_redirect off; }");
        assert!(
            off.contains("[routes.response]\nlocations = false"),
            "{off}"
        );
        assert!(!off.contains("proxy_redirect off"), "{off}");
        let secure = made("/a/ { proxy_pass http://s; proxy_cookie_path / \"/; Secure\"; }");
        assert!(
            secure.contains("proxy_cookie_path / \"/; Secure\"; -- not carried over"),
            "{secure}"
        );
        let regex = made("/a/ { proxy_pass http://s; proxy_redirect ~^http:(.*)$ https:$1; }");
        assert!(
            regex.contains("proxy_redirect ~^http:(.*)$ https:$1; -- not carried over"),
            "{regex}"
        );
    }
}
