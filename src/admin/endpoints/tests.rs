//! The list of endpoints, against the calls that they lead to.

use super::*;

#[test]
fn the_list_names_every_endpoint_once() {
    let list = index();
    for Endpoint {
        method, path, call, ..
    } in &ENDPOINTS
    {
        let is_it = |line: &&str| line.split_whitespace().take(2).eq([*method, *path]);
        assert_eq!(list.lines().filter(is_it).count(), 1, "{list}");
        assert_eq!(
            find(&path.replace("NAME", "a b/56")).map(|found| found.call),
            Some(*call)
        );
        assert!(call.takes(&method.parse().unwrap()) && call.methods().contains(method));
    }
}

#[test]
fn calls_that_change_something_are_never_open_to_any_host() {
    let open: Vec<_> = ENDPOINTS
        .iter()
        .filter(|endpoint| endpoint.call.is_for_probes())
        .collect();
    assert!(
        open.iter().all(
            |endpoint| endpoint.call.takes(&Method::GET) && !endpoint.call.takes(&Method::POST)
        )
    );
    assert_eq!(
        open.iter()
            .map(|endpoint| endpoint.path)
            .collect::<Vec<_>>(),
        ["/metrics", "/livez", "/readyz"]
    );
}

#[test]
fn a_call_with_another_method_learns_which_are_taken() {
    let response = not_allowed(CallKind::Reload);
    assert_eq!(
        (
            response.status().as_u16(),
            &response.headers()[header::ALLOW]
        ),
        (405, &"POST".parse().unwrap())
    );
}
