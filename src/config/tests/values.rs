//! What is left out has its default, and what is given arrives.

use std::time::Duration;

use super::{super::model::*, config_with};

#[test]
fn the_smallest_useful_file_is_one_upstream_and_one_route() {
    let config = config_with("", "").unwrap();
    assert_eq!(config.listeners[0].bind.to_string(), "0.0.0.0:8080");
    assert_eq!(config.admin.unwrap().bind.to_string(), "127.0.0.1:9901");
    let route = &config.routes[0];
    assert_eq!(route.action, Action::Forward("app".into()));
    assert_eq!(route.timeouts.total, Duration::from_secs(30));
    assert_eq!(route.timeouts.attempt, route.timeouts.total);
    assert_eq!(route.request.max_body, Some(10 << 20));
    assert_eq!(config.upstreams[0].pool.max_connections.get(), 512);
}
